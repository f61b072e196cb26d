# SPDX-License-Identifier: Apache-2.0
"""Connections that the kernel carries past TCP: what clients and servers see of it."""
import base64
import hashlib
import os
import socket
import time

import pytest

from harness import pattern, rawhttp
from harness.splicing import ask, body, spliced, splicing, start, state, until
from harness.wait import scaled, wait_for

BUDGET = 256 << 10


@pytest.fixture(scope="module")
def mesh(make_world):
    return start(make_world())


def in_pod(fn):
    """The test's body runs in the client's pod; it sees the agent through its admin socket."""
    def test(mesh):
        assert mesh.client.call(lambda: fn(mesh) or True, timeout=90)
    test.__name__, test.__doc__ = fn.__name__, fn.__doc__
    return test


# ---- what goes through ----

def test_both_hops_of_a_kept_alive_connection_are_spliced(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            end = time.monotonic() + scaled(20)
            while splicing(mesh)["total"] < before + 2 or state(mesh, c)["splice"] != "spliced":
                assert time.monotonic() < end, (splicing(mesh), state(mesh, c))
                ask(c)
            for i in range(300):
                ask(c, i * 37)
            return splicing(mesh)["active"]

    before = splicing(mesh)["total"]
    counters = [mesh.metrics().sum("sluice_spliced_total", hop=hop) for hop in ("client", "endpoint")]
    assert mesh.client.call(run, timeout=60) >= 2
    after = [mesh.metrics().sum("sluice_spliced_total", hop=hop) for hop in ("client", "endpoint")]
    assert after[0] > counters[0] and after[1] > counters[1]


@in_pod
def test_a_long_answer_goes_by_tcp(mesh):
    with spliced(mesh) as c:
        for size in (BUDGET // 2, 10 << 20, 1000, 3 << 20):
            ask(c, size)
        s = state(mesh, c)
        assert (s["splice"], s["splice_why"]) == ("left", "length"), s


@in_pod
def test_an_answer_of_unknown_length_and_a_slow_reader(mesh):
    size = 3 << 20
    with spliced(mesh) as c:
        c.send(rawhttp.build(target=f"/?size={size}&chunked=1&chunk=5000"))
        time.sleep(0.3)  # nobody reads
        s = state(mesh, c)
        assert s["splice"] == "leaving", s
        assert s["sent"] < 2 * BUDGET, s
        body(c.read_response(), size)
        ask(c)
        s = state(mesh, c)
        assert (s["splice"], s["splice_why"]) == ("left", "budget"), s


@in_pod
def test_pipelined_requests_whose_answers_are_not_read(mesh):
    sizes = [(i * 7919) % 40000 for i in range(60)]
    with spliced(mesh) as c:
        for size in sizes:
            c.send(rawhttp.build(target=f"/?size={size}"))
        time.sleep(0.2)
        for size in sizes:
            body(c.read_response(), size)
        ask(c)


@in_pod
def test_long_requests(mesh):
    data = b"".join(pattern.pieces(5 << 20))
    with spliced(mesh) as c:
        for n in (1000, 70000, 200000, len(data), 10):
            r = c.request("POST", body=data[:n])
            assert r.seen["body_sha256"] == hashlib.sha256(data[:n]).hexdigest()
        c.send(rawhttp.build("POST", headers=[("Transfer-Encoding", "chunked")]))
        for i in range(0, len(data), 50000):
            c.send(rawhttp.chunk(data[i:i + 50000]))
        c.send("0\r\n\r\n")
        assert c.read_response().seen["body_sha256"] == hashlib.sha256(data).hexdigest()


KEY = base64.b64encode(bytes(16)).decode()


@in_pod
def test_an_upgrade_on_a_spliced_connection(mesh):
    data = os.urandom(3 << 20)
    with spliced(mesh) as c:
        r = c.request(headers=[("Connection", "Upgrade"), ("Upgrade", "echo")])
        assert r.status == 101, r
        for n in (1, 100, 70000, len(data)):
            c.sock.settimeout(scaled(20))
            sent = 0
            back = b""
            while len(back) < n:
                if sent < n:
                    c.send(data[sent:min(n, sent + 65536)])
                    sent += 65536
                back += c.read_exact(min(65536, n - len(back)))
            assert back == data[:n]
        s = state(mesh, c)
        assert (s["state"], s["splice"], s["splice_why"]) == ("tunnel", "left", "tunnel"), s


@in_pod
def test_a_client_that_becomes_blocking(mesh):
    with spliced(mesh) as c:
        c.sock.settimeout(None)
        for i in range(50):
            ask(c, 5000 + i)
        s = state(mesh, c)
        assert (s["splice"], s["splice_why"]) == ("left", "blocking"), s


@in_pod
def test_a_blocking_client_is_never_spliced(mesh):
    with rawhttp.Conn(mesh.addr()) as c:
        c.sock.settimeout(None)
        until(mesh, c, "plain")
        wait_for(lambda: ask(c) or state(mesh, c).get("splice_why") == "blocking", 15)
        assert state(mesh, c)["splice"] == "plain"


@in_pod
def test_half_closes(mesh):
    """The end of a request's connection comes behind the request, that of the answer behind the answer."""
    for size in (0, 1000, 100000):
        with spliced(mesh) as c:
            c.send(rawhttp.build(target=f"/?size={size}"))
            c.sock.shutdown(socket.SHUT_WR)
            body(c.read_response(), size)
            assert c.at_eof()
        with spliced(mesh) as c:
            c.send(rawhttp.build(target=f"/?size={size}", headers=[("Connection", "close")]))
            body(c.read_response(), size)
            assert c.at_eof()


@in_pod
def test_sleeping_readers_cost_a_bounded_amount(mesh):
    n, size = 40, 8 << 20
    conns = [spliced(mesh) for _ in range(n)]
    for c in conns:
        c.send(rawhttp.build(target=f"/?size={size}&chunked=1&chunk=3000"))
    wait_for(lambda: all(state(mesh, c)["splice"] == "leaving" for c in conns), 30, what="all to have used their budget")
    time.sleep(0.3)  # nothing moves any more
    sent = [state(mesh, c)["sent"] for c in conns]
    assert sum(sent) < n * 2 * BUDGET
    for c in conns[::7]:
        body(c.read_response(), size)
    for c in conns:
        c.close()


def test_the_table_says_who_is_spliced(mesh):
    def run():
        with spliced(mesh) as c:
            port = c.sock.getsockname()[1]
            line = next(line for line in mesh.ctl_run("conns", output="table").stdout.splitlines()
                        if f":{port} " in line)
            assert " spliced " in line or " spliced/" in line, line
        return True

    assert mesh.client.call(run, timeout=60)
    assert "Splicing" in mesh.ctl_run("status", output="table").stdout
    assert mesh.metrics().sum("sluice_splice_on") == 1
    assert mesh.metrics().sum("sluice_splice_passes_total") > 0
