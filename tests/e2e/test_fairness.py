# SPDX-License-Identifier: Apache-2.0
"""One pod does not starve another of connections, nor of turns. One worker, so that they have to share it."""
from harness import load, manifests as m, rawhttp
from harness.wait import wait_for


def start(world, *limits):
    world.base()
    world.add_service("http", [world.a], [m.port(app_protocol="http")], vip=("10.96.2.9", "fd00:96::29"))
    world.route("r", [m.rule(backends="a")], ["http"])
    world.start(*(word for limit in limits for word in ("--limit", limit)), workers=1)


def connect(task, addr, n):
    """n connections that idle after a request: how many of them were served."""
    conns, served = [], 0
    for _ in range(n):
        try:
            c = rawhttp.Conn(addr)
            conns.append(c)
            served += c.request().status == 200
        except (ConnectionError, rawhttp.Closed):
            pass
    task.report(served)
    task.wait_stop()
    return served


def test_a_pod_has_half_of_the_connections_and_leaves_the_rest(world):
    start(world, "connections=40")
    greedy = world.spawn(world.client, connect, world.addr("http"), 60)
    assert greedy.next_report() == 20, "as many as it leaves"
    modest = world.spawn(world.alien, connect, world.addr("http"), 5)
    assert modest.next_report() == 5
    assert world.metrics().sum("sluice_limit_reached_total", limit="pod-connections") == 40
    greedy.stop_and_result()
    wait_for(lambda: world.metrics().sum("sluice_connections_active") == 5, what="its connections to close")
    again = world.spawn(world.client, connect, world.addr("http"), 10)
    assert again.next_report() == 10, "what is free again is had again"


def bulk(task, addr):
    """Connections that take long answers without pause."""
    return load.run(task, addr, threads=12, keep_alive=True, target="/?size=2000000&chunk=200000", timeout=30)


def test_everybody_gets_turns_beside_bulk(world):
    start(world)
    addr = world.addr("http")
    task = world.spawn(world.client, bulk, addr)
    task.next_report()

    def ask():
        with rawhttp.Conn(addr, timeout=30) as c:
            return [c.request().status for _ in range(20)]
    for pod in (world.alien, world.client):
        assert pod.call(ask, timeout=60) == [200] * 20
    task.stop_and_result()
