# SPDX-License-Identifier: Apache-2.0
"""Clients and servers that are slow, or never end, on purpose: each gets the answer that is defined for it,
costs bounded memory, and other clients keep their latency (as a ratio to what it was before)."""
import contextlib
import resource
import select
import socket
import statistics
import struct
import threading
import time

import pytest

from harness import manifests as m, rawhttp
from harness.agent import sanitized
from harness.wait import scaled, wait_for

GET = b"GET / HTTP/1.1\r\nHost: web\r\n"
POST = b"POST / HTTP/1.1\r\nHost: web\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# What the kernel may hold for a connection besides; an endless message is refused long before.
ENDLESS = 16 << 20


@pytest.fixture(scope="module")
def mesh(make_world):
    """Small timeouts, so that slowness shows at once; evil is a server that the tests play."""
    w = make_world().base()
    w.evil = w.pod("evil")
    w.add_service("evil", [w.evil])
    w.route("r", [m.rule(m.path("/evil"), "evil"), m.rule(m.path("/timed"), "a", timeouts={"request": "300ms"}),
                  m.rule(m.path("/beside"), "b"), m.rule(backends="a")])
    w.start("--limit", "header-timeout=1000", "--limit", f"idle-timeout={int(scaled(3000))}")
    return w


@pytest.fixture(autouse=True)
def fresh(mesh):
    mesh.a.backend.reset()


def latency(world, n=40):
    """Median of a request on a connection of its own, from another pod to another backend."""
    def run():
        took = []
        for _ in range(n):
            begin = time.monotonic()
            assert rawhttp.fetch(world.addr(), target="/beside", timeout=30).status == 200
            took.append(time.monotonic() - begin)
        return statistics.median(took)
    return world.alien.call(run, timeout=90)


@contextlib.contextmanager
def beside(world, attack, *args):
    """While the attack runs (it reports once it is under way), others are served about as fast as before."""
    before, rss = latency(world), world.agent.rss_bytes()
    task = world.spawn(world.client, attack, *args)
    try:
        task.next_report(60)
        during, grown = latency(world), world.agent.rss_bytes() - rss
        print(f"median {before * 1000:.2f} ms before, {during * 1000:.2f} ms beside it; {grown >> 10} KiB more")
        # The attackers share the machine's cores with everybody: a generous ratio, of no tiny number.
        assert during < 30 * max(before, scaled(0.005)), (before, during)
        # What a sanitizer has freed it keeps for a while.
        assert grown < (512 if sanitized() else 64) << 20
    except BaseException:
        task.kill()  # its connections would trouble the tests that follow
        print(world.metrics())
        raise
    yield task
    wait_for(lambda: world.metrics().sum("sluice_connections_active") == 0, 20, what="all connections to end")
    assert world.metrics().sum("sluice_requests_active") == 0
    assert world.fetch().status == 200


def connect_many(addr, n):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    return [rawhttp.Conn(addr, timeout=30) for _ in range(n)]


def drip(task, conns, byte, pause=0.05):
    """One byte more on each, again and again, until the test stops it. A refused one is left alone."""
    while not task.stopping():
        for c in conns:
            with contextlib.suppress(OSError):
                c.sock.send(byte)
        task.wait_stop(pause)


# heads

@pytest.mark.parametrize("begin", [b"G", b"GET / HTTP/1.1\r\nHost: web\r\nX-Slow: ", GET], ids=["method", "value", "line"])
def test_a_head_that_comes_byte_by_byte_gets_408(mesh, begin):
    """Bytes do not prolong it: the time is that of the whole head."""
    rest = b"ET / HTTP/1.1\r\nX: " if begin == b"G" else b"x"

    def run():
        with rawhttp.Conn(mesh.addr(), timeout=scaled(20)) as c:
            c.send(begin)
            started, i = time.monotonic(), 0
            while not select.select([c.sock], [], [], 0.05)[0]:
                c.send(rest[i % len(rest):i % len(rest) + 1])
                i += 1
                assert time.monotonic() - started < scaled(15)
            return c.read_response().status, c.at_eof()
    assert mesh.client.call(run, timeout=60) == (408, True)
    assert mesh.a.backend.seen() == []


def test_a_second_head_that_does_not_end_gets_408_too(mesh):
    def run():
        with rawhttp.Conn(mesh.addr(), timeout=scaled(20)) as c:
            first = c.request().status
            c.send(GET)
            return first, c.read_response().status, c.at_eof()
    assert mesh.client.call(run, timeout=60) == (200, 408, True)


def test_three_hundred_slow_heads(mesh):
    def attack(task):
        conns = connect_many(mesh.addr(), 300)
        for c in conns:
            c.send(GET + b"X: ")
        task.report()
        statuses = [c.read_response().status for c in conns]
        return set(statuses), all(c.at_eof() for c in conns)
    with beside(mesh, attack) as task:
        assert task.result(60) == ({408}, True)


# bodies

def test_a_hundred_slow_bodies(mesh):
    """They are waited for, as nobody can know what a client still has to say, and cost next to nothing."""
    def attack(task):
        conns = connect_many(mesh.addr(), 100)
        for c in conns:
            c.send(POST + b"Content-Length: 100000\r\n\r\n")
        task.report()
        drip(task, conns, b"x")
    with beside(mesh, attack) as task:
        task.stop_and_result()
    assert all("body_len" not in s for s in mesh.a.backend.seen() if s["method"] == "POST")


def test_a_slow_body_ends_with_the_timeout_of_its_rule(mesh):
    def run():
        with rawhttp.Conn(mesh.addr(), timeout=scaled(20)) as c:
            c.send(b"POST /timed HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\n")
            while not select.select([c.sock], [], [], 0.05)[0]:
                c.send(b"x")
            return c.read_response().status, c.at_eof()
    assert mesh.client.call(run, timeout=60) == (504, True)


def test_two_hundred_slow_readers_of_large_answers(mesh):
    def attack(task):
        conns = connect_many(mesh.addr(), 200)
        for c in conns:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.send(rawhttp.build(target="/?size=20000000"))
        for c in conns:
            assert c.read_head().status == 200
        task.report()
        while not task.stopping():
            for c in conns:
                c.sock.recv(16)
            task.wait_stop(0.05)
        for c in conns:
            c.close()
    with beside(mesh, attack) as task:
        task.stop_and_result()


# connections

def test_a_thousand_idle_connections(mesh):
    """Each is closed when the idle timeout has passed; until then the others do not feel it."""
    def attack(task):
        conns = []
        for _ in range(500):  # one that never asks, one that asks at once: neither waits for its turn
            conns += connect_many(mesh.addr(), 2)
            assert conns[-1].request().status == 200
        task.report()
        return all(c.at_eof() for c in conns)
    with beside(mesh, attack) as task:
        assert task.result(90)


def test_a_flood_of_connections(mesh):
    """Opened and closed, a few hundred at a time: silent, with half a head, with a request nobody waits for."""
    def attack(task):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        n = 0
        task.report()
        while not task.stopping():
            socks = []
            for _ in range(300):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(mesh.addr())
                socks.append(s)
            n += len(socks)
            task.wait_stop(0.02)
            for i, s in enumerate(socks):
                with contextlib.suppress(OSError):
                    s.send((b"", GET, GET + b"\r\n")[i % 3])
                s.close()
        return n
    with beside(mesh, attack) as task:
        n = task.stop_and_result()
    print(f"{n} connections")
    assert n >= 300


# what never ends

ENDLESS_REQUESTS = {
    "target": (b"GET /", b"a" * 4096, 414),
    "query": (b"GET /?", b"a=b&" * 1024, 414),
    "method": (b"", b"A" * 4096, 414),
    "value": (GET + b"X: ", b"a" * 4096, 431),
    "name": (GET, b"a" * 4096, 431),
    "header lines": (GET, b"X: y\r\n" * 500, 431),
    "empty lines": (b"", b"\r\n" * 1000, 400),
    "folded lines": (GET + b"X: y\r\n", b" z\r\n" * 1000, 431),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 500, 431),
    "trailer value": (CHUNKED + b"0\r\nX: ", b"y" * 4096, 431),
    "chunk extension": (CHUNKED + b"1", b";a=b" * 1024, 400),
    "chunk size": (CHUNKED, b"0" * 4096, 400),
}


@pytest.mark.parametrize("declared", [False, True], ids=["undeclared", "declared"])
@pytest.mark.parametrize("name", ENDLESS_REQUESTS)
def test_a_request_without_end_is_refused_early(mesh, name, declared):
    begin, more, status = ENDLESS_REQUESTS[name]
    if declared and "declared" not in mesh.vips:
        mesh.add_service("declared", [mesh.a], [m.port(app_protocol="http")])
        mesh.route("declared", [m.rule(backends="a")], ["declared"])
        mesh.wait_answer(lambda r: r.status == 200, "the declared port", service="declared")
        mesh.a.backend.reset()
    addr = mesh.addr("declared" if declared else "web")
    if name == "method" and not declared:
        status = None  # no method is that long: a tunnel, which the server ends

    def run():
        with rawhttp.Conn(addr, timeout=scaled(20)) as c:
            c.send(begin)
            sent = 0
            while sent < ENDLESS and not select.select([c.sock], [], [], 0)[0]:
                try:
                    sent += c.sock.send(more)
                except ConnectionError:
                    break
            if status is None:
                return None, sent
            return c.read_response().status, sent
    got, sent = mesh.client.call(run, timeout=90)
    assert got == status
    assert sent < ENDLESS, "it was refused while it went on"
    assert all("body_len" not in s for s in mesh.a.backend.seen() if s["method"] == "POST")
    assert mesh.fetch().status == 200


def evil_server(task, begin, more, pause):
    """Answers each connection's first request with begin and then more without end. Result: per connection,
    whether it was cut off before it had sent what no proxy should take."""
    server = socket.create_server(("", 8080))
    cut = []

    def serve(s):
        with s, contextlib.suppress(OSError):
            s.settimeout(scaled(20))
            s.recv(65536)
            s.sendall(begin)
            sent = 0
            while sent < ENDLESS:
                try:
                    sent += s.send(more)
                except OSError:
                    break
                if pause:
                    time.sleep(pause)
            cut.append(sent < ENDLESS)
    threads = []
    task.report()
    while not task.stopping():
        if select.select([server], [], [], 0.05)[0]:
            threads.append(threading.Thread(target=serve, args=(server.accept()[0],)))
            threads[-1].start()
    for t in threads:
        t.join()
    server.close()
    return cut


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS_ANSWERS = {
    "status line": (b"HTTP/1.1 200 ", b"O" * 4096, 502),
    "value": (OK + b"X: ", b"a" * 4096, 502),
    "name": (OK, b"a" * 4096, 502),
    "header lines": (OK, b"X: y\r\n" * 500, 502),
    "folded lines": (OK + b"X: y\r\n", b" z\r\n" * 1000, 502),
    "something else": (b"", b"\0" * 4096, 502),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 50, 502),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 502),
    "interim heads": (b"HTTP/1.1 103 Early Hints\r\n", b"Link: </a>\r\n" * 500, 502),
    "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 4096, None),
    "chunk extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n1", b";a=b" * 1024, None),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 500, None),
    "bytes behind": (OK + b"Content-Length: 2\r\n\r\nok", b"x" * 4096, 200),
    "answers behind": (OK + b"Content-Length: 2\r\n\r\nok", (OK + b"Content-Length: 2\r\n\r\nno") * 50, 200),
}


@pytest.mark.parametrize("name", ENDLESS_ANSWERS)
def test_an_answer_without_end_is_refused_early(mesh, name):
    """502 for a head; a body that is none is cut, so that nobody takes it for whole."""
    begin, more, status = ENDLESS_ANSWERS[name]
    server = mesh.spawn(mesh.evil, evil_server, begin, more, 0)
    server.next_report()

    def run():
        with rawhttp.Conn(mesh.addr(), timeout=scaled(20)) as c:
            c.send(rawhttp.build(target="/evil"))
            try:
                return c.read_response().status
            except (rawhttp.Closed, ConnectionError):
                return None
    assert mesh.client.call(run, timeout=60) == status
    assert mesh.fetch().status == 200
    cut = server.stop_and_result(60)
    assert cut and all(cut), "the agent reads on without end"


def test_a_server_that_drips_its_head(mesh):
    """The rule has no timeout, so it is waited for; others are not held up, and the client may go."""
    server = mesh.spawn(mesh.evil, evil_server, OK + b"X: ", b"y", 0.05)
    server.next_report()

    def attack(task):
        conns = connect_many(mesh.addr(), 50)
        for c in conns:
            c.send(rawhttp.build(target="/evil"))
        task.report()
        task.wait_stop()
        for c in conns:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
    with beside(mesh, attack) as task:
        task.stop_and_result()
    assert all(server.stop_and_result(60)), "a client that resets frees its server"
