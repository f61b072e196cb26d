# SPDX-License-Identifier: Apache-2.0
"""Who is not spliced, and what becomes of spliced connections when something ends."""
import time

from harness import manifests as m, rawhttp
from harness.splicing import ask, spliced, splicing, start, state
from harness.wait import wait_for


# ---- who may not ----

def never(world, why, service="web"):
    def run():
        with rawhttp.Conn(world.addr(service)) as c:
            wait_for(lambda: ask(c) or state(world, c).get("splice_why"), 15)
            return state(world, c)
    s = world.client.call(run, timeout=60)
    assert (s["splice"], s["splice_why"]) == ("plain", why), s


def test_switched_off(world):
    world.base()
    world.route("r", [m.rule(m.path("/"), "a")])
    world.start()
    assert splicing(world) == {"state": "off", "why": "--splice off, which is the default"}
    never(world, "off")


def annotated(world, service=None, pod=None):
    """The base objects once more, with annotations on Service web and on the client's Pod."""
    mark = {"sluice.dev/splice": service} if service else None
    world.write("web.yaml", world.service_objects("quiet", [world.a], vip=("10.96.0.77", "fd00:96::77"),
                                                  annotations=mark))
    caller = m.pod(world.client)
    if pod:
        caller["metadata"]["annotations"] = {"sluice.dev/splice": pod}
    world.write("base.yaml", [m.namespace("shop"), caller, m.pod(world.a),
                              *world.service_objects("web", [world.a]), *world.service_objects("a", [world.a])])


def test_annotations_of_service_and_pod(world):
    start(world)
    annotated(world, service="disabled")
    world.route("quiet", [m.rule(backends="quiet")], parents=["quiet"])
    world.wait_answer(lambda r: r.status == 200, "the route to be served", service="quiet")
    never(world, "service", "quiet")

    def run(task):
        with spliced(world) as c:
            task.report()
            task.wait_stop()
            wait_for(lambda: ask(c) or state(world, c)["splice"] == "left", 15)
            return state(world, c)["splice_why"]

    task = world.spawn(world.client, run)
    task.next_report()
    annotated(world, pod="disabled")
    wait_for(lambda: splicing(world)["active"] <= 2, 5)
    assert task.stop_and_result() == "pod"
    never(world, "pod")


def test_only_who_is_vouched_for(world):
    start(world, splice="vouched")
    never(world, "not_vouched")
    annotated(world, pod="enabled")

    def is_asked_for():
        with rawhttp.Conn(world.addr("web")) as c:
            for _ in range(4):
                ask(c)
            return "splice_why" not in state(world, c)

    def run():
        wait_for(is_asked_for, 15)
        with spliced(world) as c:
            return state(world, c)["splice"]
    assert world.client.call(run, timeout=60) == "spliced"
    assert world.metrics().sum("sluice_spliced_total", hop="endpoint") == 0, "nobody vouches for the servers"


# ---- when something ends ----

def test_an_agent_that_is_killed(world):
    start(world)

    def run(task):
        conns = [spliced(world) for _ in range(8)]
        for c in conns[:4]:
            c.send(rawhttp.build(target="/?delay=20000"))
        task.report()
        task.wait_stop()
        ends = []
        for c in conns:
            try:
                ends.append(c.at_eof())
            except ConnectionError:
                ends.append(True)
        return ends

    task = world.spawn(world.client, run)
    task.next_report(timeout=60)
    world.agent.kill()
    assert task.stop_and_result() == [True] * 8
    start(world)
    assert world.client.call(lambda: spliced(world).close() or True, timeout=60)


def test_a_backend_that_is_killed(world):
    start(world)
    victim = world.pod("victim", listen=["http:8080"])
    world.add_service("victim", [victim], vip=("10.96.0.78", "fd00:96::78"))
    world.route("v", [m.rule(backends="victim")], parents=["victim"])
    world.wait_answer(lambda r: r.status == 200, "the victim to be served", service="victim")

    def run(task):
        before = splicing(world)["total"]
        with spliced(world, "victim") as c:
            wait_for(lambda: ask(c) or splicing(world)["total"] >= before + 2, 15)
            c.send(rawhttp.build(target="/?delay=20000"))
            task.report()
            return {c.read_response().status, c.request().status}

    task = world.spawn(world.client, run)
    task.next_report(timeout=60)
    wait_for(lambda: victim.backend.stats()["requests"] > 3, 5)
    victim.backend.stop()
    # Lost with its connection, or sent again in vain.
    assert task.result() <= {502, 503}


def test_a_client_whose_namespace_goes(world):
    start(world)
    pod = world.pod("passing")
    world.wait_ready()

    def run(task):
        conns = [spliced(world) for _ in range(4)]
        task.report()
        task.wait_stop()
        return len(conns)

    task = world.spawn(pod, run)
    task.next_report(timeout=60)
    active = splicing(world)["active"]
    assert active >= 4
    world.fabric.forget(pod)
    world.extra_pods.remove(pod)
    wait_for(lambda: splicing(world)["active"] <= active - 4, 10, what="its connections to end")
    task.kill()
    assert world.client.call(lambda: spliced(world).close() or True, timeout=60)


def test_load_while_the_configuration_changes(world):
    start(world)
    load = world.load(threads=8, keep_alive=True, target="/?size=3000")
    for i in range(10):
        world.route("r", [m.rule(m.path("/"), "a"), m.rule(m.path(f"/x{i}"), "b")])
        time.sleep(0.2)
    result = load.stop_and_result()
    assert not result.errors and set(result.statuses) == {200}, result
    assert splicing(world)["total"] >= 8
