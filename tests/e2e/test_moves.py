# SPDX-License-Identifier: Apache-2.0
"""What happens to connections that have been used for a while (the kernel may splice them by then) when something
under them goes: a namespace, an address, both ends at once, the port that comes again."""
import errno
import os
import socket
import struct
import time

import pytest

from harness import manifests as m, rawhttp, spliced
from harness.wait import scaled, wait_for

EXCHANGES = 8


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("r", [m.rule(backends="a")])
    w.start(splice="on")
    return w


def used(addr, n=1, timeout=20, **kw):
    """Connections behind some exchanges each."""
    conns = [rawhttp.Conn(addr, timeout=timeout, **kw) for _ in range(n)]
    for c in conns:
        for i in range(EXCHANGES):
            assert c.request(target=f"/{i}").seen["target"] == f"/{i}"
    return conns


def none_left(mesh):
    wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 0, what="all connections to be gone")


def hold(task, addr, n):
    conns = used(addr, n)
    task.report()
    task.wait_stop()
    return [c.request().status for c in conns]


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "asking"])
def test_a_clients_namespace_goes_with_connections_in_it(mesh, asking):
    """Nobody closes them: the namespace and its processes are gone at once. Other pods' go on."""
    other = mesh.spawn(mesh.alien, hold, mesh.addr(), 5)
    other.next_report()
    pod = mesh.pod("going")
    wait_for(lambda: os.path.basename(pod.netns) in mesh.served_netns(), what="the pod to be served")

    def run(task):
        conns = used(mesh.addr(), 20)
        for c in conns if asking else []:
            c.send(rawhttp.build(target="/?size=50000000"))
        task.report()
        task.wait_stop()
    with spliced.shown(mesh, "a namespace that goes"):
        task = mesh.spawn(pod, run)
        task.next_report(60)
        cookie = pod.netns
        task.kill()
        mesh.fabric.forget(pod)
        mesh.extra_pods.remove(pod)
        wait_for(lambda: os.path.basename(cookie) not in mesh.served_netns(), what="the namespace to be forgotten")
        wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 5, what="its connections to be gone")
    assert other.stop_and_result() == [200] * 5
    none_left(mesh)


def test_a_servers_namespace_goes_with_pooled_connections_to_it(mesh):
    """Connections to it are of no use: an answer within the deadline, from the one that is left or an error."""
    pod = mesh.pod("backend-going", serve=True)
    mesh.add_service("two", [pod, mesh.b])
    mesh.route("two", [m.rule(backends="two")], parents=["two"])
    wait_for(lambda: {mesh.fetch(service="two", timeout=1).seen["pod"] for _ in range(4)} == {pod.name, "b"},
             what="both to answer")

    def run(task):
        conns = used(mesh.addr("two"), 10)
        task.report()
        task.wait_stop()
        seen = []
        for c in conns:
            begin = time.monotonic()
            r = c.request()
            seen.append((r.status, r.status == 200 and r.seen["pod"], time.monotonic() - begin))
        return seen
    task = mesh.spawn(mesh.client, run)
    task.next_report(60)
    mesh.write("service-shop-two.yaml", mesh.service_objects("two", [mesh.b]))
    name = pod.name
    pod.ip("link set eth0 down")
    mesh.fabric.forget(pod)
    mesh.extra_pods.remove(pod)
    wait_for(lambda: mesh.pods_of(6, service="two") == ["b"] * 6, what="the endpoint to be taken out")
    seen = task.stop_and_result(60)
    assert all(s == 200 and p == "b" and took < scaled(5) for s, p, took in seen), (name, seen)
    none_left(mesh)


def test_an_address_that_moves_to_another_pod(mesh):
    """The old pod is cut off without a word and a new one has its address: no byte of one reaches the other."""
    old = mesh.pod("mover", serve=True)
    mesh.add_service("moving", [old])
    mesh.route("moving", [m.rule(backends="moving")], parents=["moving"])
    wait_for(lambda: mesh.fetch(service="moving", timeout=1).status == 200, what="the route")

    def run(task):
        conns = used(mesh.addr("moving"), 10)
        task.report()
        task.wait_stop()
        seen = []
        for c in conns:
            try:
                r = c.request()
                seen.append(r.seen["pod"] if r.status == 200 else r.status)
            except (OSError, rawhttp.Closed) as e:
                seen.append(type(e).__name__)
        return seen
    task = mesh.spawn(mesh.client, run)
    task.next_report(60)
    new = mesh.pod("moved", written=False)
    old.ip("link set eth0 down", f"addr del {old.v4}/16 dev eth0")
    new.ip(f"addr del {new.v4}/16 dev eth0", f"addr add {old.v4}/16 dev eth0")
    new.v4 = old.v4
    new.serve()
    new.backend.wait_ready()
    # Neighbours learn the new owner, as CNIs announce it.
    mesh.client.run(["ip", "neigh", "flush", "dev", "eth0"])
    seen = task.stop_and_result(120)
    # A GET on a pooled connection that was reset is tried again, on the new pod; nothing came from the old one.
    assert set(seen) <= {new.name, 502, 503}, seen
    assert new.name in seen, seen
    assert mesh.fetch(service="moving").seen["pod"] == new.name
    none_left(mesh)


def test_both_ends_close_at_once(mesh):
    """The server closes behind its answer, the client behind its request."""
    def run():
        for i in range(200):
            c = used(mesh.addr())[0] if i % 10 == 0 else rawhttp.Conn(mesh.addr())
            c.send(rawhttp.build(target="/?close=1", headers=[("Connection", "close")]))
            if i % 2:
                c.sock.shutdown(socket.SHUT_WR)
            r = c.read_response()
            assert r.status == 200 and c.at_eof(), r
            c.close()
    mesh.client.call(run, timeout=60)
    none_left(mesh)


def test_tunnels_that_both_ends_close_at_once(mesh):
    """echo.py's banner server speaks first and ends when the client does: FINs cross."""
    mesh.add_service("banner", [mesh.a], [m.port(80, 9001, "first")])
    mesh.route("banner", [m.rule(backends="banner")], parents=["banner"])

    def run():
        for _ in range(50):
            with socket.create_connection(mesh.addr("banner"), scaled(10)) as s:
                assert s.recv(100)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
    def routed():
        with socket.create_connection(mesh.addr("banner"), 0.5) as s:
            return s.recv(100)
    wait_for(lambda: mesh.client.call(routed), what="the route")
    mesh.client.call(run, timeout=60)
    none_left(mesh)


@pytest.mark.parametrize("reset", [False, True], ids=["TIME_WAIT", "reset"])
def test_a_port_that_is_used_again(mesh, reset):
    """One source port over and over, with what is left of the last connection under it."""
    def run():
        answers = []
        for i in range(30):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.settimeout(scaled(10))
            s.bind(("", 33333))
            try:
                s.connect(mesh.addr())
            except OSError as e:
                answers.append(e.errno)
                s.close()
                continue
            c = rawhttp.Conn(None, s)
            for k in range(EXCHANGES):
                answers.append(c.request(target=f"/{i}/{k}").seen["target"] == f"/{i}/{k}")
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        return answers
    answers = mesh.client.call(run, timeout=60)
    # Without a mesh connect(2) refuses a port in TIME_WAIT too.
    allowed = {True} if reset else {True, errno.EADDRNOTAVAIL}
    assert set(answers) <= allowed and answers[:EXCHANGES] == [True] * EXCHANGES, answers
    none_left(mesh)


def test_a_cgroup_of_connections_is_killed(mesh):
    """SIGKILL for all clients at once, in the middle of what they do."""
    def run(task):
        for c in used(mesh.addr(), 30):
            c.send(rawhttp.build(target="/?size=3000000&chunked=1"))
        task.report()
        task.wait_stop()
    tasks = [mesh.spawn(mesh.client, run) for _ in range(3)]
    for t in tasks:
        t.next_report(60)
    for t in tasks:
        t.kill()
    none_left(mesh)
    assert mesh.fetch().status == 200
