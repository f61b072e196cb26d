# SPDX-License-Identifier: Apache-2.0
"""What two implementations could read in two ways is refused, and no byte of it reaches a backend
(RFC 9112 sections 6.3 and 11.2)."""
import pytest

from harness import manifests as m, rawhttp
from harness.wait import wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("all", [m.rule(backends="a")])
    w.start()
    return w


GET = "GET / HTTP/1.1\r\nHost: web\r\n"
POST = "POST / HTTP/1.1\r\nHost: web\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "both lengths": POST + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "both lengths, other order": POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths in one line": POST + "Content-Length: 3, 4\r\n\r\nabcd",
    "negative length": POST + "Content-Length: -1\r\n\r\n",
    "signed length": POST + "Content-Length: +3\r\n\r\nabc",
    "hex length": POST + "Content-Length: 0x3\r\n\r\nabc",
    "length with space inside": POST + "Content-Length: 1 0\r\n\r\n0123456789",
    "huge length": POST + "Content-Length: 99999999999999999999\r\n\r\n",
    "empty length": POST + "Content-Length: \r\n\r\n",
    "length with unit": POST + "Content-Length: 3x\r\n\r\nabc",
    "coding not chunked": POST + "Transfer-Encoding: gzip\r\n\r\n",
    "chunked not last": POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two lines": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked misspelt": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked quoted": POST + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked with vertical tab": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": "POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": POST + "Content-Length : 3\r\n\r\nabc",
    "space before coding's colon": POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "tab in name": GET + "X\tY: 1\r\n\r\n",
    "folded line": GET + "X-A: 1\r\n continued\r\n\r\n",
    "folded first line": "GET / HTTP/1.1\r\n X: 1\r\nHost: web\r\n\r\n",
    "bare CR in value": GET + "X-A: 1\rX-B: 2\r\n\r\n",
    "bare CR as line end": "GET / HTTP/1.1\rHost: web\r\r",
    "NUL in value": GET + "X-A: 1\x002\r\n\r\n",
    "NUL in name": GET + "X\x00A: 1\r\n\r\n",
    "control in value": GET + "X-A: \x01\r\n\r\n",
    "no colon": GET + "Nonsense\r\n\r\n",
    "empty name": GET + ": 1\r\n\r\n",
    "paren in name": GET + "X(A): 1\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + "Host: web\r\n\r\n",
    "two different hosts": GET + "Host: other\r\n\r\n",
    "host with space": "GET / HTTP/1.1\r\nHost: web x\r\n\r\n",
    "host with slash": "GET / HTTP/1.1\r\nHost: web/x\r\n\r\n",
    "host with at": "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "two spaces": "GET  / HTTP/1.1\r\nHost: web\r\n\r\n",
    "space in target": "GET /a b HTTP/1.1\r\nHost: web\r\n\r\n",
    "control in target": "GET /a\x01b HTTP/1.1\r\nHost: web\r\n\r\n",
    "fragment in target": "GET /a#b HTTP/1.1\r\nHost: web\r\n\r\n",
    "relative target": "GET a HTTP/1.1\r\nHost: web\r\n\r\n",
    "lower-case version": "GET / http/1.1\r\nHost: web\r\n\r\n",
    "version with more digits": "GET / HTTP/1.10\r\nHost: web\r\n\r\n",
    "chunk size negative": CHUNKED + "-1\r\na\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + "0x1\r\na\r\n0\r\n\r\n",
    "chunk size signed": CHUNKED + "+1\r\na\r\n0\r\n\r\n",
    "chunk size empty": CHUNKED + "\r\na\r\n0\r\n\r\n",
    "chunk size with leading space": CHUNKED + " 1\r\na\r\n0\r\n\r\n",
    "chunk size overflows": CHUNKED + "fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "chunk longer than said": CHUNKED + "1\r\nabc\r\n0\r\n\r\n",
    "chunk ends with LF": CHUNKED + "1\r\na\n0\r\n\r\n",
    "chunk size ends with LF": CHUNKED + "1\na\r\n0\r\n\r\n",
    "chunk extension with CR": CHUNKED + "1;a\rb\r\na\r\n0\r\n\r\n",
    "chunk extension with LF": CHUNKED + "1;a\nb\r\na\r\n0\r\n\r\n",
    "trailer without colon": CHUNKED + "0\r\nnonsense\r\n\r\n",
    "trailer folded": CHUNKED + "0\r\nX-A: 1\r\n 2\r\n\r\n",
}
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n"


@pytest.mark.parametrize("name", REFUSED)
def test_refused(mesh, name):
    mesh.a.backend.reset()
    raw = REFUSED[name] + SMUGGLED

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(raw)
            r = c.read_response()
            return r, c.at_eof()
    r, closed = mesh.client.call(run)
    assert r.status == 400, r
    assert closed, "the connection ends with the refusal"
    seen = mesh.a.backend.seen()
    assert [s["target"] for s in seen if s["target"] == "/smuggled"] == []
    assert mesh.a.backend.stats()["bad"] == []
    # A chunked body is refused when it is met: its head may have gone ahead, whole it never arrives.
    assert [s for s in seen if "body_len" in s] == []
    if not REFUSED[name].startswith(CHUNKED):
        assert seen == [], "nothing of it is forwarded"


@pytest.mark.parametrize("raw, status", [
    ("GET /" + "a" * 20000 + " HTTP/1.1\r\nHost: web\r\n\r\n", 414),
    (GET + "X-A: " + "a" * 70000 + "\r\n\r\n", 431),
    (GET + "".join(f"X-{i}: 1\r\n" for i in range(200)) + "\r\n", 431),
    ("GET / HTTP/2.0\r\nHost: web\r\n\r\n", 505),
    ("GET / HTTP/3.1\r\nHost: web\r\n\r\n", 505),
], ids=["long target", "long header", "many headers", "version 2.0", "version 3.1"])
def test_over_a_limit(mesh, raw, status):
    mesh.a.backend.reset()

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(raw)
            return c.read_response().status, c.at_eof()
    assert mesh.client.call(run) == (status, True)
    assert mesh.a.backend.seen() == []


@pytest.mark.parametrize("raw", [
    POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    POST + "Content-Length: 3, 3\r\n\r\nabc",
])
def test_equal_lengths_are_refused_or_made_one(mesh, raw):
    """RFC 9110 section 8.6 leaves the choice; two lines must not go on."""
    mesh.a.backend.reset()

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return c.send(raw).read_response()
    r = mesh.client.call(run)
    if r.status == 200:
        assert r.seen.all("content-length") == ["3"]
        assert r.seen["body_head"] == "abc"
    else:
        assert r.status == 400
        assert mesh.a.backend.seen() == []


def test_chunked_in_any_case_is_chunked(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(POST + "transfer-encoding:\tCHUNKED \r\n\r\n3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)
            return [c.read_response().seen["target"] for _ in range(2)]
    assert mesh.client.call(run) == ["/", "/smuggled"]


def test_a_field_named_by_connection_cannot_remove_the_framing(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(POST + "Connection: Content-Length, Host\r\nContent-Length: 3\r\n\r\nabc")
            return c.read_response()
    r = mesh.client.call(run)
    if r.status == 200:
        assert (r.seen["body_head"], r.seen.all("host")) == ("abc", ["web"])
    else:
        assert r.status == 400


def test_bytes_behind_a_refusal_are_not_read_as_a_request(mesh):
    mesh.a.backend.reset()

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(REFUSED["both lengths"] + SMUGGLED * 10)
            c.read_response()
            return c.buf, c.at_eof()
    assert mesh.client.call(run) == (b"", True)
    assert mesh.a.backend.seen() == []


def test_an_access_log_line_tells_of_the_refusal(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return c.send(REFUSED["two lengths"]).read_response().status
    assert mesh.client.call(run) == 400
    wait_for(lambda: any(r["end_reason"] == "client_invalid" and r["status"] == 400 for r in mesh.access_records()))
