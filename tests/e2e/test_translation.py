# SPDX-License-Identifier: Apache-2.0
"""Every kind of client in front of every kind of server, each kind of body, and each way in which either may end: what the
other one sees. A cut answer must never look whole, a whole one never cut."""
import itertools

import pytest

from harness import h2client, manifests as m, pattern, rawhttp
from harness.wait import wait_for

CLIENTS = ["1.0", "1.1", "2"]
SERVERS = ["one", "two"]
N = 5000
BODIES = {"empty": "size=0", "fixed": f"size={N}", "endless": f"size={N}&chunked=1", "trailers": f"size={N}&trailers=1"}
ENDS = ["whole", *map("-".join, itertools.product(["reset", "cut"], ["before", "head", "body"]))]


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("one", [w.a], [m.port(80, 8080, app_protocol="http")], vip=("10.96.0.81", "fd00:96::81"))
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.82", "fd00:96::82"))
    w.route("web", [m.rule(m.path(f"/{s}"), s) for s in SERVERS])
    w.start()
    w.wait_answer(lambda r: r.status == 200, "the Service", target="/one")
    return w


def conn(client, addr):
    return h2client.Conn(addr) if client == "2" else rawhttp.Conn(addr)


def ask(c, client, target):
    if client == "1.0":
        c.send(f"GET {target} HTTP/1.0\r\nHost: web\r\n\r\n")
        return c.read_response()
    te = [("TE", "trailers")] + ([("Connection", "TE")] if client == "1.1" else [])
    return c.request(target=target, headers=te)


def outcome(client, addr, target, n):
    """"whole" with what came behind it, a status of the agent's own, or "cut"."""
    with conn(client, addr) as c:
        try:
            r = ask(c, client, target)
        except (OSError, rawhttp.Closed, h2client.Reset):
            return "cut"
        if r.status != 200:
            return r.status
        if r.body != pattern.piece(0, n):
            return f"other: {len(r.body)} bytes"
        return " and ".join(["whole", *(k.lower() for k, _ in r.trailers if k.lower() == "x-trailer")])


def answers(client, server, addr):
    cells = {}
    for (body, options), end in itertools.product(BODIES.items(), ENDS):
        how, _, stage = end.partition("-")
        failure = f"&{how}={stage}" if stage else ""
        cells[body, end] = outcome(client, addr, f"/{server}?{options}{failure}", 0 if body == "empty" else N)
    return cells


def expected_answer(client, server, body, end):
    if end.endswith("before"):
        return {502}
    if end == "whole":
        return {"whole and x-trailer" if body == "trailers" and client != "1.0" else "whole"}
    if body == "empty":
        # The length said it all; a server of HTTP/2 that does not end its stream can still be seen to fail.
        return {"whole"} if server == "one" else {"whole", "cut"}
    return {"cut"}


@pytest.mark.parametrize("client, server", itertools.product(CLIENTS, SERVERS))
def test_answers(mesh, client, server):
    cells = mesh.client.call(answers, client, server, mesh.addr(), timeout=60)
    wrong = {cell: got for cell, got in cells.items() if got not in expected_answer(client, server, *cell)}
    assert wrong == {}
    assert len(cells) == len(BODIES) * len(ENDS)


# ---- requests ----

def head_of(client, target, body):
    version = "1.0" if client == "1.0" else "1.1"
    length = {"empty": "Content-Length: 0\r\n", "fixed": f"Content-Length: {N}\r\n"}.get(body, "Transfer-Encoding: chunked\r\n")
    return f"POST {target} HTTP/{version}\r\nHost: web\r\n{length}\r\n"


def tail_of(body):
    return {"endless": "0\r\n\r\n", "trailers": "0\r\nX-Trailer: behind\r\n\r\n"}.get(body, "")


def post_old(c, client, target, body, end):
    c.send(head_of(client, target, body))
    if end == "head":
        return None
    content = pattern.piece(0, 0 if body == "empty" else N if end != "body" else N // 2)
    if body in ("endless", "trailers"):
        c.send(b"%x\r\n" % len(content) + content + (b"\r\n" if end != "body" else b""))
    else:
        c.send(content)
    if end == "body":
        return None
    c.send(tail_of(body))
    if end == "half-close":
        c.sock.shutdown(1)
    return c.read_response()


def post_new(c, client, target, body, end):
    headers = [("content-length", "0" if body == "empty" else str(N))] if body in ("empty", "fixed") else []
    id = c.open("POST", target, headers=headers, end=False)
    if end == "head":
        return c.reset(id)
    c.send(id, pattern.piece(0, 0 if body == "empty" else N if end != "body" else N // 2))
    if end == "body":
        return c.reset(id)
    c.end(id, [("x-trailer", "behind")] if body == "trailers" else None)
    if end != "half-close":
        return c.read(id)
    c.sock.shutdown(1)
    s = c.streams[id]
    while not s.ended and (data := c.sock.recv(65536)):
        for e in c.h2.receive_data(data):
            c._event(e)
    return c.response(s)


def requests(client, server, addr, ends):
    cells = {}
    for body, end in itertools.product(BODIES, ends):
        if client == "1.0" and body in ("endless", "trailers"):
            continue  # it has no chunks
        if body == "empty" and end in ("head", "body"):
            continue  # there is nothing to be missing
        with conn(client, addr) as c:
            r = (post_new if client == "2" else post_old)(c, client, f"/{server}?{body}-{end}", body, end)
            if client == "2" and not r:
                assert c.request(target=f"/{server}").status == 200, "a reset costs its stream alone"
        if r:
            trailers = [n.lower() for n, _ in r.seen["trailers"]]
            cells[body, end] = (r.status, r.seen["body_sha256"] == pattern.digest(0 if body == "empty" else N), trailers)
        else:
            cells[body, end] = None
    return cells


@pytest.mark.parametrize("client, server", itertools.product(CLIENTS, SERVERS))
def test_requests(mesh, client, server):
    cells = mesh.client.call(requests, client, server, mesh.addr(), ["whole", "half-close"], timeout=60)
    assert cells == {cell: (200, True, ["x-trailer"] if cell[0] == "trailers" else []) for cell in cells}
    assert len(cells) == (4 if client == "1.0" else 8)


@pytest.mark.parametrize("client, server", itertools.product(CLIENTS, SERVERS))
def test_requests_that_are_given_up(mesh, client, server):
    """By a reset of the stream in HTTP/2, by the end of the connection in HTTP/1: no server takes them for whole."""
    backend = {"one": mesh.a, "two": mesh.b}[server].backend
    backend.reset()
    before = mesh.metrics().sum("sluice_end_reason_total", reason="client_closed")
    cells = mesh.client.call(requests, client, server, mesh.addr(), ["head", "body"], timeout=60)
    assert len(cells) == (2 if client == "1.0" else 6)
    wait_for(lambda: mesh.metrics().sum("sluice_end_reason_total", reason="client_closed") == before + len(cells), 10)
    assert [r for r in backend.seen() if r["method"] == "POST" and "body_len" in r] == []
    assert mesh.fetch(f"/{server}").status == 200
