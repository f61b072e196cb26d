# SPDX-License-Identifier: Apache-2.0
"""Load: routes that come and go under it, many connections, other people's clients."""
import asyncio
import collections
import http.client
import os
import re
import resource
import selectors
import shutil
import socket
import subprocess

import pytest

from harness import manifests as m, rawhttp
from harness.agent import memory_budget
from harness.wait import hold_for, scaled, wait_for
from harness.world import stand_in

CLIENTS = os.path.join(os.path.dirname(__file__), "clients")


@pytest.mark.parametrize("keep_alive", [False, True])
def test_a_route_added_and_removed_under_load_fails_no_request(world, keep_alive):
    """Somebody else serves the address without the mesh; the rule takes the traffic to pod a and back."""
    world.base()
    with stand_in(world) as pod:
        pod.backend.wait_ready()
        world.start(vip_provider="other")
        task = world.load(threads=3, keep_alive=keep_alive)
        for _ in range(5):
            world.route("r", [m.rule(backends="a")])
            world.wait_answer(lambda r: r.seen["pod"] == "a", "the route")
            world.remove_route("r")
            world.wait_answer(lambda r: r.seen["pod"] == pod.name, "the route to be gone")
        result = task.stop_and_result()
        print(f"five times added and removed: {result}")
        assert result.errors == [] and set(result.statuses) == {200}, result
        assert result.n > 100
        if not keep_alive:
            assert result.pods["a"] > 0 and result.pods[pod.name] > 0, result


def test_connections_through_the_agent_go_on_when_the_last_route_goes(world):
    world.base()
    with stand_in(world):
        world.route("r", [m.rule(backends="a")])
        world.start(vip_provider="other")

        def run(task):
            with rawhttp.Conn(world.addr()) as c:
                task.report(c.request().seen["pod"])
                task.wait_stop()
                return [c.request().seen["pod"] for _ in range(6)]
        task = world.spawn(world.client, run)
        assert task.next_report() == "a"
        world.remove_route("r")
        world.wait_answer(lambda r: r.seen["pod"].startswith("stand-in"), "the route to be gone")
        assert set(task.stop_and_result()) == {"a", "b", "c"}, "to the Service's own endpoints"


def test_a_thousand_connections_at_once(world):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start()
    n = 1000

    def run():
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        conns = [rawhttp.Conn(world.addr(), timeout=30) for _ in range(n)]
        for i, c in enumerate(conns):
            c.send(rawhttp.build(target=f"/{i}"))
        for i, c in enumerate(conns):
            assert c.read_response().seen["target"] == f"/{i}"
        for i, c in enumerate(conns):
            c.send(rawhttp.build(target=f"/again/{i}"))
        pods = collections.Counter()
        for i, c in enumerate(conns):
            seen = c.read_response().seen
            assert seen["target"] == f"/again/{i}"
            pods[seen["pod"]] += 1
        for c in conns:
            c.close()
        return pods
    pods = world.client.call(run, timeout=120)
    assert set(pods) == {"a", "b", "c"} and max(pods.values()) - min(pods.values()) < n / 10, pods
    wait_for(lambda: world.metrics().sum("sluice_connections_active") == 0, what="all connections to be closed")


def test_idle_connections_cost_little(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    for _ in range(20):
        world.fetch()
    before = world.agent.rss_bytes()
    n = 1000

    def run(task):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        conns = []
        for _ in range(n):
            c = rawhttp.Conn(world.addr(), timeout=30)
            assert c.request().status == 200
            conns.append(c)
        task.report()
        task.wait_stop()
    task = world.spawn(world.client, run)
    task.next_report(120)
    grown = world.agent.rss_bytes() - before
    task.stop_and_result()
    print(f"an idle connection costs {grown / n / 1024:.1f} KiB")
    assert grown / n < memory_budget(64 * 1024)


def test_wrk(world):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start()
    out = world.client.run(["wrk", "-t2", "-c64", "-d2s", "--timeout", "10s", f"http://{world.addr()[0]}:80/"],
                           timeout=60).stdout
    print(out)
    assert "Non-2xx" not in out and "Socket errors" not in out, out
    assert int(re.search(r"(\d+) requests in", out).group(1)) > 200


def test_curl(world):
    world.base()
    world.route("r", [m.rule(m.path("/old"), filters=m.redirect(full="/new", statusCode=301)),
                      m.rule(m.path("/new"), "b")])
    world.start()
    out = world.client.run(["curl", "-sS", "-L", "-w", "\n%{http_code} %{num_redirects} %{remote_ip}",
                            "--resolve", f"web.shop:80:{world.addr()[0]}", "http://web.shop/old?x=1"]).stdout
    body, _, tail = out.rpartition("\n")
    assert tail == f"200 1 {world.addr()[0]}"
    assert '"target": "/new?x=1"' in body and '"pod": "b"' in body


def test_python_http_client(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    def run():
        conn = http.client.HTTPConnection(world.addr()[0], 80, timeout=scaled(10))
        statuses = []
        for i in range(10):
            conn.request("POST", f"/{i}", body=(b"part" for _ in range(3)), encode_chunked=True,
                         headers={"Transfer-Encoding": "chunked"})
            r = conn.getresponse()
            r.read()
            statuses.append(r.status)
        return statuses, conn.sock.getpeername()
    assert world.client.call(run) == ([200] * 10, world.addr())


def test_python_asyncio(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    async def one(i):
        reader, writer = await asyncio.open_connection(*world.addr())
        writer.write(rawhttp.build(target=f"/{i}?delay={i % 7}", headers=[("Connection", "close")]))
        data = await reader.read()
        writer.close()
        return data.startswith(b"HTTP/1.1 200 ") and f'"target": "/{i}?'.encode() in data

    async def main():
        return await asyncio.gather(*(one(i) for i in range(100)))
    assert world.client.call(lambda: asyncio.run(main()), timeout=60) == [True] * 100


@pytest.fixture(scope="session")
def foreign_client(fabric):
    """A client of another language's HTTP library: Go where it is installed, else Node."""
    go = shutil.which("go") or (os.path.exists("/usr/local/go/bin/go") and "/usr/local/go/bin/go")
    if go:
        target = os.path.join(fabric.folder, "client")
        subprocess.run([go, "build", "-o", target, os.path.join(CLIENTS, "client.go")], check=True,
                       env=dict(os.environ, GOFLAGS="-mod=mod", GO111MODULE="off", CGO_ENABLED="0"))
        return [target]
    return ["node", os.path.join(CLIENTS, "client.js")]


def test_a_client_of_another_language(world, foreign_client):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start()
    out = world.client.run([*foreign_client, f"http://{world.addr()[0]}", "200", "8"], timeout=60).stdout
    assert out.strip() == "200 ok", out


def test_node(world):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start()
    out = world.client.run(["node", os.path.join(CLIENTS, "client.js"), f"http://[{world.addr(family=6)[0]}]",
                            "100", "8"], timeout=60).stdout
    assert out.strip() == "100 ok", out


def test_one_slow_pod_does_not_hold_up_another(world):
    """Fifty connections that read nothing, and one that wants its answers."""
    world.base()
    world.route("r", [m.rule(m.path("/slow"), "b"), m.rule(m.path("/"), "a")])
    world.start()

    def stall(task):
        conns = []
        for _ in range(50):
            c = rawhttp.Conn(world.addr())
            c.send(rawhttp.build(target="/slow?size=50000000"))
            conns.append(c)
        task.report()
        task.wait_stop()
    task = world.spawn(world.alien, stall)
    task.next_report()
    result = world.load()
    wait_for(lambda: world.a.backend.stats()["requests"] > 100, what="a hundred answers beside it")
    result = result.stop_and_result()
    task.stop_and_result()
    assert result.errors == [] and result.longest < scaled(2), result


def test_an_idle_agent_uses_no_processor(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    def run(task):
        conns = [rawhttp.Conn(world.addr()) for _ in range(50)]
        for c in conns:
            assert c.request().status == 200
        task.report()
        task.wait_stop()
    task = world.spawn(world.client, run)
    task.next_report()
    before = world.agent.cpu_seconds()
    hold_for(world.agent.running, 2, interval=0.5)
    used = world.agent.cpu_seconds() - before
    task.stop_and_result()
    assert used <= 0.1 * scaled(1), f"{used} s of two"


def test_a_flood_of_connects_that_say_nothing(world):
    """Silent connections to a routed port: each may dial the default endpoint, none may block others."""
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    def run(task):
        sel = selectors.DefaultSelector()
        socks = []
        for _ in range(300):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(world.addr())
            sel.register(s, selectors.EVENT_WRITE)
            socks.append(s)
        task.report()
        task.wait_stop()
    task = world.spawn(world.alien, run)
    task.next_report()
    assert [world.fetch().status for _ in range(10)] == [200] * 10
    task.stop_and_result()
    wait_for(lambda: world.metrics().sum("sluice_connections_active") == 0, what="all connections to be closed")
