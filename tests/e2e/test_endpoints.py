# SPDX-License-Identifier: Apache-2.0
"""Endpoints that refuse, vanish or close at the wrong moment: what is retried, and what is not."""
import time

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for

DEAD = 7999  # nobody listens there


def service_on(world, name, pod_ports, vip):
    """A Service whose endpoints are (pod, port), one slice each."""
    objects = [m.service(name, vip)]
    for i, (pod, port) in enumerate(pod_ports):
        objects.append(m.endpoint_slice(name, [pod], [m.port(80, port)], suffix=str(i)))
    world.write(f"{name}.yaml", objects)


def test_a_refused_connection_is_tried_on_another_endpoint(world):
    world.base()
    service_on(world, "half", [(world.a, DEAD), (world.b, 8080)], "10.96.0.31")
    world.route("r", [m.rule(backends="half")])
    world.start()
    assert world.pods_of(20) == ["b"] * 20
    r = world.fetch(method="POST", body=b"not idempotent, but never sent")
    assert (r.status, r.seen["pod"]) == (200, "b")


def test_when_every_endpoint_refuses_it_is_503(world):
    world.base()
    service_on(world, "dead", [(world.a, DEAD)], "10.96.0.31")
    world.route("r", [m.rule(m.path("/dead"), "dead"), m.rule(m.path("/"), "b")])
    world.start()
    assert world.fetch("/dead").status == 503
    assert world.fetch("/alive").status == 200


@pytest.mark.parametrize("kind", ["reset", "cut"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_close_before_the_answer_is_502(world, kind, method):
    world.base()
    # Declared, so that no connection was dialled to find out who speaks first.
    world.add_service("known", [world.a], [m.port(80, 8080, app_protocol="http")])
    world.route("r", [m.rule(backends="a")], ["known"])
    world.start()
    r = world.fetch(f"/?{kind}=before", "known", method=method, body=b"x" if method == "POST" else None)
    assert r.status == 502
    assert world.a.backend.stats()["requests"] == 1, "on a fresh connection: no second try"


@pytest.mark.parametrize("kind", ["reset", "cut"])
@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
def test_a_cut_answer_reaches_the_client_as_cut(world, kind, chunked):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    def run():
        with rawhttp.Conn(world.addr()) as c:
            c.send(rawhttp.build(target=f"/?{kind}=body&size=100000{chunked}"))
            c.read_response()
    with pytest.raises((rawhttp.Closed, ConnectionError)):
        world.client.call(run)


@pytest.mark.parametrize("raw", ["nonsense\r\n\r\n", "HTTP/1.1 abc X\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                                 "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 0\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"])
def test_a_malformed_answer_is_502(world, raw):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    world.a.backend.set(raw=raw)
    assert world.fetch().status == 502
    world.a.backend.set(raw=None)
    assert world.fetch().status == 200


def test_a_pooled_connection_that_closes_under_a_get_is_retried_once(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(workers=1)
    conn = world.fetch().seen["conn"]
    world.a.backend.set(stale=conn)
    r = world.fetch()
    assert r.status == 200
    assert r.seen["conn"] != conn
    seen = [q for q in world.a.backend.seen() if q["conn"] == conn]
    assert len(seen) == 2, "it was sent once on the old connection, then on a new one"


def test_a_pooled_connection_that_closes_under_a_post_is_not_retried(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(workers=1)
    world.a.backend.set(stale=world.fetch().seen["conn"])
    assert world.fetch(method="POST", body=b"once").status == 502
    assert [q["method"] for q in world.a.backend.seen()].count("POST") == 1


def test_an_idle_connection_that_the_backend_closed_is_not_used(world):
    world.base()
    world.add_service("known", [world.a], [m.port(80, 8080, app_protocol="http")])
    world.route("r", [m.rule(backends="a")], ["known"])
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr("known")) as c:
            c.request(target="/?cut=body&size=0")
            task.report()
            task.wait_stop()
            return [c.request("POST", body=b"x").status for _ in range(5)]
    task = world.spawn(world.client, run)
    task.next_report()
    wait_for(lambda: world.metrics().sum("sluice_upstream_pool", state="idle") == 0, what="the pool to see the close")
    assert task.stop_and_result() == [200] * 5


def test_pooled_connections_are_used_again(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(workers=1)

    def run():
        conns = []
        for _ in range(10):
            conns.append(rawhttp.fetch(world.addr()).seen["conn"])
        return conns
    conns = world.client.call(run)
    assert len(set(conns)) == 1, "ten clients in turn, one connection to the backend"


def test_pods_do_not_share_connections(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(workers=1)
    peers = [(p.v4, world.fetch(pod=p).seen) for p in (world.client, world.alien, world.client, world.alien)]
    for own, seen in peers:
        assert seen["peer"][0] == own
    assert peers[0][1]["conn"] == peers[2][1]["conn"] != peers[1][1]["conn"]


def test_an_endpoint_that_is_taken_out_gets_no_more_requests(world):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start()
    assert set(world.pods_of(12)) == {"a", "b", "c"}
    world.write("base.yaml", [m.namespace("shop"), *world.service_objects("web", [world.a, world.b]),
                              *[m.pod(p) for p in world.pods.values()]])
    wait_for(lambda: set(world.pods_of(6)) == {"a", "b"}, what="pod c to get no requests")
    wait_for(lambda: world.c.backend.stats()["open"] == 0, what="idle connections to pod c to be closed")


def test_an_endpoint_that_turns_ready_gets_requests(world):
    world.base()
    objects = [m.service("grow", "10.96.0.31"), m.endpoint_slice("grow", [world.a, world.b], not_ready=[world.b])]
    world.write("grow.yaml", objects)
    world.route("r", [m.rule(backends="grow")])
    world.start()
    assert set(world.pods_of(6)) == {"a"}
    world.write("grow.yaml", [objects[0], m.endpoint_slice("grow", [world.a, world.b])])
    wait_for(lambda: set(world.pods_of(6)) == {"a", "b"}, what="pod b to get requests")


def test_another_zone_of_the_node_changes_the_choice(world):
    world.base()
    places = {world.a: ("node-2", "z1"), world.b: ("node-3", "z2")}
    world.write("close.yaml", [m.service("close", "10.96.1.1", trafficDistribution="PreferSameZone"),
                               m.endpoint_slice("close", [world.a, world.b], places=places)])
    world.write("node.yaml", m.node(zone="z1"))
    world.route("r", [m.rule(backends="close")])
    world.start(node="node-1")
    assert set(world.pods_of(4)) == {"a"}
    world.write("node.yaml", m.node(zone="z2"))
    wait_for(lambda: set(world.pods_of(4)) == {"b"}, what="the endpoints of the other zone")
    world.remove("node.yaml")
    wait_for(lambda: set(world.pods_of(4)) == {"a", "b"}, what="both endpoints, the zone not being known")


def test_without_a_node_name_local_is_left_out_and_said(world):
    world.base()
    world.write("local.yaml", [m.service("local", "10.96.1.1", internalTrafficPolicy="Local"),
                               m.endpoint_slice("local", [world.a, world.b])])
    world.route("r", [m.rule(backends="local")])
    world.start()
    assert set(world.pods_of(4)) == {"a", "b"}
    assert any(w["field"] == "spec.internalTrafficPolicy" and "--node" in w["message"]
               for w in world.ctl("status")["config"]["warnings"])


def test_an_endpoint_that_went_gets_nothing_after_50_ms(world):
    """The best of several times: what else the machine does is not the agent's doing."""
    world.base()
    world.route("r", [m.rule(backends="ab")])
    both = [m.service("ab", "10.96.1.1"), m.endpoint_slice("ab", [world.a, world.b])]
    world.write("ab.yaml", both)
    world.start()

    addr = world.addr()

    def run(task):
        """When the last request began that pod b answered."""
        last, pods = {}, 0
        with rawhttp.Conn(addr) as c:
            while not task.stopping():
                at = time.monotonic()
                last[c.request().seen["pod"]] = at
                if len(last) == 2 > pods:
                    task.report()
                pods = len(last)
        return last["b"]
    took = []
    for _ in range(5):
        task = world.spawn(world.client, run)
        task.next_report()
        gone = time.monotonic()
        world.write("ab.yaml", [both[0], m.endpoint_slice("ab", [world.a])])
        wait_for(lambda: "b" not in world.pods_of(4), what="pod b to get no requests")
        took.append(task.stop_and_result() - gone)
        world.write("ab.yaml", both)
        wait_for(lambda: "b" in world.pods_of(4), what="pod b to get requests")
    assert min(took) < scaled(0.05), took
