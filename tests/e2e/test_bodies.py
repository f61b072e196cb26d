# SPDX-License-Identifier: Apache-2.0
"""Bodies: large ones byte for byte, slow readers and slow senders in bounded memory, cut ones cut."""
import hashlib
import socket
import struct

import pytest

from harness import manifests as m, pattern, rawhttp
from harness.agent import memory_budget
from harness.wait import scaled, wait_for

LARGE = 100 << 20


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("r", [m.rule(backends="a")])
    w.start()
    return w


@pytest.fixture(autouse=True)
def fresh(mesh):
    mesh.a.backend.reset()


def download(addr, target):
    """Digest and length of a body, without keeping it."""
    with rawhttp.Conn(addr, timeout=60) as c:
        c.send(rawhttp.build(target=target))
        r = c.read_head()
        assert r.status == 200, r
        h, n = hashlib.sha256(), 0
        if r.get("Transfer-Encoding"):
            while size := int(c.read_line(), 16):
                h.update(c.read_exact(size))
                n += size
                assert c.read_line() == b""
            assert c.read_line() == b""
        else:
            left = int(r.get("Content-Length"))
            while left:
                data = c.read_exact(min(left, 1 << 20))
                h.update(data)
                n += len(data)
                left -= len(data)
        return h.hexdigest(), n, c.request().status


def upload(addr, size, chunked, target="/"):
    with rawhttp.Conn(addr, timeout=60) as c:
        c.send(f"POST {target} HTTP/1.1\r\nHost: web\r\n" +
               ("Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {size}\r\n\r\n"))
        for p in pattern.pieces(size):
            c.send(rawhttp.chunk(p) if chunked else p)
        if chunked:
            c.send(b"0\r\n\r\n")
        seen = c.read_response("POST").seen
        return seen["body_sha256"], seen["body_len"], c.request().status


@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
def test_100_mb_down(mesh, chunked):
    result = mesh.client.call(download, mesh.addr(), f"/?size={LARGE}{chunked}", timeout=120)
    assert result == (pattern.digest(LARGE), LARGE, 200)


@pytest.mark.parametrize("chunked", [False, True])
def test_100_mb_up(mesh, chunked):
    result = mesh.client.call(upload, mesh.addr(), LARGE, chunked, timeout=120)
    assert result == (pattern.digest(LARGE), LARGE, 200)


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 1000003])
@pytest.mark.parametrize("chunk", [1021, 65536])
def test_sizes_around_buffers(mesh, size, chunk):
    def run():
        down = download(mesh.addr(), f"/?size={size}&chunked=1&chunk={chunk}")
        plain = download(mesh.addr(), f"/?size={size}&chunk={chunk}")
        up = upload(mesh.addr(), size, True)
        return down, plain, up
    expected = (pattern.digest(size), size, 200)
    assert mesh.client.call(run, timeout=60) == (expected,) * 3


def test_heads_around_buffers(mesh):
    """A head that ends just before, at and behind every likely buffer's edge."""
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            for edge in (1024, 2048, 4096, 8192, 16384, 32768):
                for d in range(-3, 4):
                    base = len(rawhttp.build("POST", headers=[("X-Pad", "")], body=b"tail"))
                    value = "p" * (edge + d - base)
                    seen = c.request("POST", headers=[("X-Pad", value)], body=b"tail").seen
                    assert (seen.get_header("x-pad"), seen["body_head"]) == (value, "tail"), (edge, d)
    mesh.client.call(run, timeout=60)


def test_a_client_that_does_not_read_costs_bounded_memory(mesh):
    """Twenty downloads of 100 MB that nobody reads: the backend is held back, the agent stays small."""
    for _ in range(5):
        mesh.fetch("/?size=1000000")
    before = mesh.agent.rss_bytes()

    def run(task):
        conns = []
        for _ in range(20):
            c = rawhttp.Conn(mesh.addr())
            c.send(rawhttp.build(target=f"/?size={LARGE}"))
            conns.append(c)
        for c in conns:
            c.read_head()
        task.report()
        task.wait_stop()
    task = mesh.spawn(mesh.client, run)
    task.next_report()
    assert mesh.fetch("/beside").status == 200
    grown = wait_stable(mesh.agent.rss_bytes) - before
    task.stop_and_result()
    print(f"20 stalled downloads: {grown / 20 / 1024:.0f} KiB each")
    assert grown < memory_budget(64 << 20)


def tcp_buffer_max(which):
    with open(f"/proc/sys/net/ipv4/tcp_{which}") as f:
        return int(f.read().split()[2])


def wait_stable(value):
    """A value that has stopped to grow."""
    last = [value()]

    def stable():
        now = value()
        same = now <= last[0]
        last[0] = now
        return same
    wait_for(stable, interval=0.3)
    return last[0]


def test_a_backend_that_does_not_read_costs_bounded_memory(mesh):
    before = mesh.agent.rss_bytes()
    mesh.a.backend.set(stop_reading=True)

    def run(task):
        socks = []
        for _ in range(20):
            c = rawhttp.Conn(mesh.addr())
            c.send(f"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {LARGE}\r\n\r\n")
            c.sock.setblocking(False)
            socks.append(c)
        sent = 0
        stalled = 0
        while stalled < 10:
            progress = 0
            for c in socks:
                try:
                    progress += c.sock.send(bytes(262144))
                except BlockingIOError:
                    pass
            sent += progress
            stalled = 0 if progress else stalled + 1
            task.wait_stop(0.02)
        task.report(sent)
        task.wait_stop()
    task = mesh.spawn(mesh.client, run)
    sent = task.next_report(60)
    grown = mesh.agent.rss_bytes() - before
    mesh.a.backend.reset()
    task.stop_and_result()
    # What was taken is on its way to the backend still: hundreds of megabytes.
    wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 0, 60)
    print(f"20 stalled uploads: {sent / 20 / 1024:.0f} KiB taken of each, {grown / 20 / 1024:.0f} KiB each in the agent")
    # Both hops' sockets may grow as far as the kernel lets them; the agent adds its own bounded queues.
    assert sent < 20 * (2 * tcp_buffer_max("rmem") + 2 * tcp_buffer_max("wmem") + (1 << 20)), "the client is held back"
    assert grown < memory_budget(64 << 20)


def test_a_slow_reader_gets_every_byte(mesh):
    def run():
        with rawhttp.Conn(mesh.addr(), timeout=30) as c:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            c.send(rawhttp.build(target="/?size=3000000"))
            c.read_head()
            h = hashlib.sha256()
            left = 3000000
            while left:
                data = c.read_exact(min(left, 7777))
                h.update(data)
                left -= len(data)
            return h.hexdigest()
    assert mesh.client.call(run, timeout=60) == pattern.digest(3000000)


def test_a_slow_sender_is_waited_for(mesh):
    def run(task):
        with rawhttp.Conn(mesh.addr()) as c:
            c.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 40\r\n\r\n")
            for i in range(40):
                task.wait_stop(0.02)
                c.send(pattern.piece(i, 1))
            return c.read_response("POST").seen["body_sha256"]
    assert mesh.spawn(mesh.client, run).result() == pattern.digest(40)


def test_an_upload_that_is_cut_is_cut_at_the_backend_too(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send("POST /cut HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\n" + "x" * 500)
    mesh.client.call(run)
    wait_for(lambda: [r["end_reason"] for r in mesh.access_records() if r.get("path") == "/cut"] == ["client_closed"])
    assert all("body_len" not in q for q in mesh.a.backend.seen() if q["target"] == "/cut")


def test_a_chunked_upload_that_is_cut_is_not_completed(mesh):
    """An end of the connection must never look like the end of the body."""
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send("POST /cut-chunked HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            c.sock.shutdown(socket.SHUT_WR)
            try:
                return c.read_to_eof()
            except ConnectionResetError:
                return b""
    answer = mesh.client.call(run)
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert all("body_len" not in q for q in mesh.a.backend.seen() if q["target"] == "/cut-chunked")


def test_a_client_that_resets_in_the_middle(mesh):
    def run():
        for _ in range(20):
            c = rawhttp.Conn(mesh.addr())
            c.send(rawhttp.build(target="/?size=10000000"))
            c.read_head()
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
    mesh.client.call(run)
    wait_for(lambda: mesh.metrics().sum("sluice_requests_active") == 0, what="all requests to end")
    assert mesh.fetch().status == 200


def test_a_body_after_an_error_is_not_read_for_ever(mesh):
    """A backend that answers early and closes: the client is told, whatever it still wants to send."""
    def run():
        with rawhttp.Conn(mesh.addr(), timeout=scaled(10)) as c:
            c.send(f"POST /?early=1&noread=1&status=413 HTTP/1.1\r\nHost: web\r\nContent-Length: {LARGE}\r\n\r\n")
            c.sock.setblocking(False)
            try:
                c.sock.send(bytes(1 << 20))
            except OSError:
                pass
            c.sock.setblocking(True)
            c.sock.settimeout(scaled(10))
            return c.read_response("POST").status
    assert mesh.client.call(run) == 413
