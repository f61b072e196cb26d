# SPDX-License-Identifier: Apache-2.0
"""Upgrades: WebSocket and others become a tunnel to the backend that the rules chose."""
import base64
import hashlib
import os
import struct

import pytest

from harness import manifests as m, rawhttp


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("ws", [m.rule(m.path("/ws"), "b", m.request_headers(set={"X-By": "mesh"})), m.rule(m.path("/"), "a")])
    w.add_service("declared", [w.c], [m.port(80, 8080, "ws", app_protocol="kubernetes.io/ws")],
                  vip=("10.96.0.45", "fd00:96::45"))
    w.route("declared", [m.rule(backends="declared")], parents=["declared"])
    w.start()
    return w


KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
HEADERS = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", KEY)]


def frame(opcode, data):
    n = len(data)
    head = bytes([0x80 | opcode])
    if n < 126:
        head += bytes([0x80 | n])
    elif n < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", n)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", n)
    mask = b"\x11\x22\x33\x44"
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data))


def read_frame(c):
    first, n = c.read_exact(2)
    if n == 126:
        n, = struct.unpack("!H", c.read_exact(2))
    elif n == 127:
        n, = struct.unpack("!Q", c.read_exact(8))
    return first & 15, c.read_exact(n)


@pytest.mark.parametrize("service", ["web", "declared"])
def test_frames_are_echoed(mesh, service):
    frames = [(1, b"hello"), (2, os.urandom(1000)), (2, os.urandom(70000)), (1, b""), (2, b"x")]

    def run():
        with rawhttp.Conn(mesh.addr(service)) as c:
            r = c.request(target="/ws", headers=HEADERS)
            back = []
            for opcode, data in frames:
                c.send(frame(opcode, data))
                back.append(read_frame(c))
            c.send(frame(8, b"\x03\xe8"))
            return r, back, read_frame(c), c.at_eof()
    r, back, close, ended = mesh.client.call(run)
    assert (r.status, r.get("Sec-WebSocket-Accept"), r.get("Upgrade").lower()) == (101, ACCEPT, "websocket")
    assert "upgrade" in r.get("Connection").lower()
    assert r.get("X-Pod") == ("b" if service == "web" else "c")
    assert back == frames
    assert (close, ended) == ((8, b"\x03\xe8"), True)


def test_frames_sent_right_behind_the_request(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(rawhttp.build(target="/ws", headers=HEADERS) + frame(1, b"early"))
            return c.read_response().status, read_frame(c)
    assert mesh.client.call(run) == (101, (1, b"early"))


def test_an_upgrade_goes_through_the_filters(mesh):
    mesh.b.backend.reset()

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return c.request(target="/ws", headers=HEADERS).status
    assert mesh.client.call(run) == 101
    seen = mesh.b.backend.seen()[-1]
    assert seen.get_header("x-by") == "mesh"
    assert seen.get_header("upgrade").lower() == "websocket"
    assert "upgrade" in seen.get_header("connection").lower()


def test_an_upgrade_that_the_backend_declines(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            first = c.request(target="/ws?noupgrade=1", headers=HEADERS)
            return first.status, c.request(target="/").seen["pod"]
    assert mesh.client.call(run) == (200, "a")


def test_other_upgrades_pass_too(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            r = c.request(target="/ws", headers=[("Connection", "upgrade"), ("Upgrade", "echo")])
            c.send(b"any bytes\x00\xff")
            return r.status, c.read_exact(11)
    assert mesh.client.call(run) == (101, b"any bytes\x00\xff")


def test_an_upgrade_without_a_route_is_404(mesh):
    mesh.add_service("none", [mesh.c], vip=("10.96.0.46", "fd00:96::46"))
    mesh.route("none", [m.rule(m.exact("/only"), "c")], parents=["none"])
    mesh.wait_answer(lambda r: r.status == 404, "the route", service="none", target="/x")

    def run():
        with rawhttp.Conn(mesh.addr("none")) as c:
            return c.request(target="/ws", headers=HEADERS).status
    assert mesh.client.call(run) == 404


def test_http2_upgrades_are_not_passed_on(mesh):
    """h2c by upgrade would be a way past the rules for every later request: the agent takes it itself, or not."""
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            r = c.request(target="/ws", headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                                                 ("HTTP2-Settings", "not base64")])
            return r.status
    mesh.b.backend.reset()
    assert mesh.client.call(run) == 200
    seen = mesh.b.backend.seen()[-1]
    assert seen.get_header("upgrade") is None and seen.get_header("http2-settings") is None
