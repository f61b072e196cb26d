# SPDX-License-Identifier: Apache-2.0
"""Limits: each refuses by name, is counted, and leaves everybody else alone."""
import contextlib
import socket

import pytest

from harness import manifests as m, rawhttp
from harness.wait import wait_for


def start(world, *limits):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(*[word for limit in limits for word in ("--limit", limit)])


def reached(world, limit):
    return world.metrics().sum("sluice_limit_reached_total", limit=limit)


@pytest.mark.parametrize("limit,status,request_bytes", [
    ("request-line-bytes=100", 414, b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: web\r\n\r\n"),
    ("header-bytes=500", 431, b"GET / HTTP/1.1\r\nHost: web\r\nX: " + b"x" * 500 + b"\r\n\r\n"),
    ("header-count=5", 431, b"GET / HTTP/1.1\r\nHost: web\r\n" + b"X: y\r\n" * 6 + b"\r\n"),
    ("trailer-bytes=100", 431, b"POST /none HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"0\r\nX: " + b"x" * 200 + b"\r\n\r\n"),
])
def test_a_message_over_a_limit(world, limit, status, request_bytes):
    start(world, limit)
    name, _, value = limit.partition("=")

    def run():
        with rawhttp.Conn(world.addr()) as c:
            c.send(request_bytes)
            r = c.read_response()
            return r.status, r.body.decode(), c.at_eof()
    answer, body, closed = world.client.call(run)
    assert (answer, closed) == (status, True)
    assert f"limit {name}={value}" in body
    assert reached(world, name) == 1
    assert world.fetch().status == 200


def test_a_slow_head_is_given_up(world):
    start(world, "header-timeout=200")

    def run():
        with rawhttp.Conn(world.addr()) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: web\r\nX: ")
            r = c.read_response()
            return r.status, r.body.decode(), c.at_eof()
    status, body, closed = world.client.call(run)
    assert (status, closed) == (408, True) and "limit header-timeout=200" in body
    assert reached(world, "header-timeout") == 1


def test_an_idle_connection_is_closed(world):
    start(world, "idle-timeout=200")

    def run():
        with rawhttp.Conn(world.addr()) as c:
            return c.request().status, c.at_eof()
    assert world.client.call(run) == (200, True)
    assert reached(world, "idle-timeout") == 1


def test_connections_over_the_limit_are_reset(world):
    start(world, "connections=20")

    def run():
        kept, refused = [], 0
        for _ in range(40):
            try:
                c = rawhttp.Conn(world.addr())
                assert c.request().status == 200
                kept.append(c)
            except (rawhttp.Closed, ConnectionResetError, BrokenPipeError):
                refused += 1
        return len(kept), refused, all(c.request().status == 200 for c in kept)
    kept, refused, alive = world.client.call(run)
    assert refused > 0 and kept <= 10 and alive, "half of them: the rest is for other pods"
    assert reached(world, "pod-connections") == refused
    wait_for(lambda: world.fetch().status == 200, what="room for a new connection")


def test_too_much_in_flight_is_refused_and_ends(world):
    start(world, "buffered-bytes=1000000")

    def hog(task):
        conns = [rawhttp.Conn(world.addr()) for _ in range(30)]
        for c in conns:
            with contextlib.suppress(ConnectionError):  # one that is over its share already
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                c.send(rawhttp.build(target="/?size=50000000"))
        task.report()
        task.wait_stop()
    task = world.spawn(world.client, hog)
    task.next_report()

    def refused():
        try:
            return world.fetch().status == 503
        except (AssertionError, OSError, rawhttp.Closed):
            return True
    wait_for(refused, what="new requests to be refused")
    assert reached(world, "buffered-bytes") + reached(world, "pod-buffered-bytes") > 0
    task.kill()
    wait_for(lambda: not refused(), what="service after the memory came back")


@pytest.mark.parametrize("text", ["nonsense=1", "header-bytes", "header-bytes=", "header-bytes=1", "header-count=x"])
def test_a_limit_that_is_none_ends_the_start(world, text):
    agent = world.start("--limit", text, wait=False)
    assert agent.wait() == 2
    assert f"--limit {text}: " in agent.log()
