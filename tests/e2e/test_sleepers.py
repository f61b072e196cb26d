# SPDX-License-Identifier: Apache-2.0
"""Clients that go to sleep in front of an answer, or take a byte of it a second: what they cost the kernel and the
agent is bounded, others do not notice, and they get every byte in the end."""
import resource
import socket
import time

import pytest

from harness import manifests as m, pattern, rawhttp, sockmem
from harness.agent import memory_budget
from harness.wait import hold_for, scaled, wait_for

N = 40  # of each kind
BODY = 24 << 20  # more than any of them is given
# What the agent holds of one answer: it reads on when what it has is sent (SL_SOCK_HIGH_BYTES in each direction).
AGENT_PER_CONN = 256 << 10
# What the kernel holds in the agent's two sockets (--limit socket-receive-bytes, socket-unsent-bytes): the receive
# buffer is twice the window; the kernel counts its own bookkeeping, and a send(2) may begin below the limit.
RECEIVE_BYTES, UNSENT_BYTES = 2 << 20, 512 << 10
KERNEL_PER_CONN = (2 * RECEIVE_BYTES + UNSENT_BYTES + (128 << 10)) * 1.1
# Theirs in the client's namespace: what they accept, far below the ports of clients; what they dial.
AGENTS = "( sport < :16000 or dport = :8080 )"


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("r", [m.rule(m.path("/beside"), "b"), m.rule(backends="a")])
    w.start()
    yield w


def target(chunked):
    return f"/?size={BODY}" + ("&chunked=1" if chunked else "")


def sleep_all(task, addr, n, drips, chunked):
    """n connections that were well-behaved for some exchanges, and then do not read; drips of them a byte a
    second. At the end some read all that they asked for: whether it is right."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    conns = []
    for i in range(n):
        c = rawhttp.Conn(addr, timeout=60)
        for _ in range(6):
            assert c.request(target="/?size=1000").body == pattern.piece(0, 1000)
        # Read well, so that the kernel would let buffers grow to what the sysctls allow.
        assert len(c.request(target=f"/?size={2 << 20}").body) == 2 << 20
        conns.append(c)
    for c in conns:
        c.send(rawhttp.build(target=target(chunked)))
    task.report()
    while not task.stopping():
        for c in conns[:drips]:
            c.buf += c.sock.recv(1)
        task.wait_stop(1)
    right = []
    for c in conns[:3] + conns[-3:]:
        body = c.read_response().body
        right.append(body == b"".join(pattern.pieces(BODY)))
    for c in conns:
        c.close()
    return right


def kernel_bytes(world):
    """Of the clients, of the agent's sockets in their namespace, and of the servers."""
    return sockmem.of_netns(world.client) + sockmem.of_netns(world.a)


def settled(measure):
    """What it comes to when nothing moves any more."""
    last = [measure(), time.monotonic()]

    def calm():
        now = measure()
        if abs(now - last[0]) > 1 << 20:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 1.5
    wait_for(calm, 40, interval=0.3, what="the queues to be full")
    return last[0]


def measure(world, addr, n, drips, chunked):
    task = world.spawn(world.client, sleep_all, addr, n, drips, chunked)
    task.next_report(120)
    kernel = settled(lambda: kernel_bytes(world))
    return task, kernel


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_sleepers_cost_bounded_memory_and_get_all_in_the_end(mesh, chunked):
    before, rss = kernel_bytes(mesh), mesh.agent.rss_bytes()
    machine = sockmem.of_machine()
    task, bare = measure(mesh, (mesh.a.v4, 8080), 20, 10, chunked)
    assert task.stop_and_result(120) == [True] * 6
    wait_for(lambda: kernel_bytes(mesh) < before + (4 << 20), 20, what="the first connections' queues to be gone")
    bare = (bare - before) / 20

    task, meshed = measure(mesh, mesh.addr(), 2 * N, N, chunked)
    meshed = (meshed - before) / (2 * N)
    agents = sockmem.of_netns(mesh.client, AGENTS) / (2 * N)
    grown = (mesh.agent.rss_bytes() - rss) / (2 * N)
    print(f"a sleeping reader: {bare / 1024:.0f} KiB of the kernel without the mesh, {meshed / 1024:.0f} KiB with it, "
          f"{agents / 1024:.0f} KiB of them in the agent's sockets, {grown / 1024:.0f} KiB of the agent; "
          f"all TCP of the machine {(sockmem.of_machine() - machine) >> 20} MiB")
    # Nobody else waits for them.
    hold_for(lambda: mesh.fetch(target="/beside").status == 200, 2, interval=0.2)
    assert task.stop_and_result(180) == [True] * 6, "what they slept on is right"
    assert grown < memory_budget(AGENT_PER_CONN)
    assert agents < KERNEL_PER_CONN
    wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 0, what="all connections to be closed")
    wait_for(lambda: kernel_bytes(mesh) < before + (4 << 20), 20, what="their queues to be gone")


def test_sleepers_that_die_leave_nothing(mesh):
    before = kernel_bytes(mesh)
    task, _ = measure(mesh, mesh.addr(), N, 0, True)
    task.kill()
    wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 0, what="all connections to be closed")
    wait_for(lambda: kernel_bytes(mesh) < before + (4 << 20), 20, what="their queues to be gone")


def test_a_server_that_sleeps_in_front_of_an_upload(mesh):
    """It reads nothing of a large body: bounded too, and the sender waits."""
    server = mesh.pod("sleeper")
    mesh.add_service("sleeper", [server])
    mesh.route("sleeper", [m.rule(backends="sleeper")], parents=["sleeper"])

    def listen(task):
        with socket.create_server((server.v4, 8080), backlog=64) as s:
            task.report()
            s.settimeout(scaled(30))
            conns = [s.accept()[0] for _ in range(20)]
            task.report()
            task.wait_stop()
            return len(conns)
    wait_for(lambda: mesh.fetch(service="sleeper", timeout=1).status == 503, what="the route")
    task = mesh.spawn(server, listen)
    task.next_report()

    def upload(task):
        socks = []
        for _ in range(20):
            s = socket.create_connection(mesh.addr("sleeper"), scaled(10))
            s.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
            s.setblocking(False)
            socks.append([s, 0])
        quiet = time.monotonic()
        while time.monotonic() - quiet < 2:
            for entry in socks:
                try:
                    entry[1] += entry[0].send(b"x" * 65536)
                    quiet = time.monotonic()
                except BlockingIOError:
                    pass
            time.sleep(0.002)
        task.report(max(n for _, n in socks))
        task.wait_stop()
    rss = mesh.agent.rss_bytes()
    sender = mesh.spawn(mesh.client, upload)
    task.next_report(60)
    sent = sender.next_report(90)
    grown = (mesh.agent.rss_bytes() - rss) / 20
    agents = sockmem.of_netns(mesh.client, AGENTS) / 20
    print(f"a sleeping server: {sent >> 10} KiB taken from one sender, {agents / 1024:.0f} KiB of the kernel in the "
          f"agent's sockets, {grown / 1024:.0f} KiB of the agent")
    assert agents < KERNEL_PER_CONN and grown < memory_budget(AGENT_PER_CONN)
    sender.stop_and_result()
    assert task.stop_and_result() == 20
