# SPDX-License-Identifier: Apache-2.0
"""Corners of HTTP/1 between a client, the agent and a backend (RFC 9110, RFC 9112)."""
import socket

import pytest

from harness import manifests as m, pattern, rawhttp
from harness.wait import scaled, wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("all", [m.rule(m.path("/none"), "nobody"), m.rule(m.path("/"), "a")])
    w.add_service("strict", [w.b], vip=("10.96.0.23", "fd00:96::23"))
    w.route("strict", [m.rule(m.exact("/only"), "b")], parents=["strict"])
    w.start()
    return w


@pytest.fixture(autouse=True)
def fresh(mesh):
    mesh.a.backend.reset()


def on_conn(mesh, fn):
    """fn(conn) in the client pod, on a connection to the Service."""
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return fn(c)
    return mesh.client.call(run)


def test_head_has_the_headers_and_no_body(mesh):
    def run(c):
        head = c.request("HEAD", "/?size=12345")
        after = c.request("GET", "/")
        return head, after
    head, after = on_conn(mesh, run)
    assert (head.status, head.get("Content-Length"), head.body) == (200, "12345", b"")
    assert after.status == 200


def test_a_head_answer_of_the_agent_has_no_body(mesh):
    def run(c):
        head = c.request("HEAD", "/none")
        return head.status, c.request("GET", "/").status
    assert on_conn(mesh, run) == (500, 200)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(mesh, status):
    def run(c):
        first = c.request(target=f"/?status={status}&size=99")
        return first, c.request().status
    first, second = on_conn(mesh, run)
    assert (first.status, first.body, second) == (status, b"", 200)
    assert first.get("Transfer-Encoding") is None
    if status == 204:
        assert first.get("Content-Length") is None
    else:
        assert first.get("Content-Length") == "99", "RFC 9110 section 15.4.5: as for the 200"


def test_an_empty_body_has_a_length(mesh):
    r = mesh.fetch("/?size=0")
    assert (r.status, r.get("Content-Length"), r.body) == (200, "0", b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X-odd.1"])
def test_methods_pass(mesh, method):
    assert mesh.fetch(method=method).seen["method"] == method


@pytest.mark.parametrize("method, body, length", [
    ("GET", None, None), ("DELETE", None, None), ("POST", b"", "0"), ("PUT", b"", "0"), ("POST", b"abc", "3"),
    ("GET", b"abc", "3"),
])
def test_request_lengths_stay_as_they_were(mesh, method, body, length):
    seen = mesh.fetch(method=method, body=body).seen
    assert (seen.get_header("content-length"), seen.get_header("transfer-encoding")) == (length, None)
    assert seen["body_head"] == (body or b"").decode()


def test_a_chunked_request_arrives_whole(mesh):
    parts = [pattern.piece(i * 1000, 1000) for i in range(50)]
    seen = mesh.fetch(method="POST", body=parts).seen
    assert (seen["body_len"], seen["body_sha256"]) == (50000, pattern.digest(50000))
    assert seen.get_header("transfer-encoding") == "chunked"


def test_chunk_extensions_are_taken_off(mesh):
    def run(c):
        c.send("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3;name=value\r\nabc\r\n2 ; x=\"y\"\r\nde\r\n0;last\r\n\r\n")
        return c.read_response().seen
    seen = on_conn(mesh, run)
    assert seen["body_head"] == "abcde"


def test_request_trailers_reach_the_backend(mesh):
    def run(c):
        c.send("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
               "3\r\nabc\r\n0\r\nX-Sum: 42\r\nContent-Length: 7\r\nHost: evil\r\n\r\n")
        return c.read_response().seen
    seen = on_conn(mesh, run)
    assert seen["trailers"] == [["X-Sum", "42"]], "framing and routing fields are no trailers (RFC 9110 section 6.5.1)"


def test_response_trailers_reach_the_client(mesh):
    r = mesh.fetch("/?size=1000&trailers=1", headers=[("TE", "trailers")])
    assert r.trailers == [("X-Trailer", "behind")]
    assert r.body == pattern.piece(0, 1000)


def test_chunked_answers_arrive_as_they_come(mesh):
    """The first chunk is there long before the last one is sent."""
    def run(c):
        c.send(rawhttp.build(target="/?size=30&chunk=10&chunked=1&pause=300"))
        c.read_head()
        c.sock.settimeout(scaled(0.25))
        first = c.read_line(), c.read_exact(10)
        c.sock.settimeout(scaled(5))
        c.read_exact(2)
        rest, _ = c.read_chunked()
        return first[1] + rest
    assert on_conn(mesh, run) == pattern.piece(0, 30)


def test_an_answer_until_close_ends_with_the_connection(mesh):
    def run(c):
        c.send(rawhttp.build(target="/?size=50000&eof=1"))
        r = c.read_response()
        return r
    r = on_conn(mesh, run)
    assert (r.status, r.body) == (200, pattern.piece(0, 50000))


def test_pipelined_requests_are_answered_in_order(mesh):
    targets = [f"/{i}?delay={(7 * i) % 20}" for i in range(20)]

    def run(c):
        c.send(b"".join(rawhttp.build(target=t) for t in targets))
        return [c.read_response().seen["target"] for _ in targets]
    assert on_conn(mesh, run) == targets


def test_pipelined_requests_with_bodies(mesh):
    def run(c):
        c.send(b"".join(rawhttp.build("POST", f"/{i}", body=b"%d" % i * 1000) for i in range(5)) +
               b"".join(rawhttp.build("POST", f"/c{i}", body=[b"x" * i, b"y"]) for i in range(1, 5)))
        return [(r["target"], r["body_len"]) for r in (c.read_response().seen for _ in range(9))]
    assert on_conn(mesh, run) == [(f"/{i}", 1000) for i in range(5)] + [(f"/c{i}", i + 1) for i in range(1, 5)]


def test_a_request_byte_by_byte(mesh):
    def run(c):
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in rawhttp.build("POST", "/slow", body=[b"ab", b"c"]):
            c.send(bytes([byte]))
        return c.read_response().seen
    assert on_conn(mesh, run)["body_head"] == "abc"


def test_empty_lines_before_a_request_are_skipped(mesh):
    assert on_conn(mesh, lambda c: c.send(b"\r\n\r\n").request().status) == 200


def test_connection_close_is_honoured(mesh):
    def run(c):
        r = c.request(headers=[("Connection", "close")])
        return r.status, r.get("Connection"), c.at_eof()
    assert on_conn(mesh, run) == (200, "close", True)


def test_a_backend_that_closes_does_not_close_the_client(mesh):
    def run(c):
        return [(r.status, r.get("Connection")) for r in (c.request(target="/?close=1") for _ in range(3))]
    assert on_conn(mesh, run) == [(200, None)] * 3


def test_http_10_gets_a_close(mesh):
    def run(c):
        r = c.request(version="1.0")
        return r, c.at_eof()
    r, closed = on_conn(mesh, run)
    assert (r.status, r.get("Connection"), closed) == (200, "close", True)
    assert r.seen["version"] == "HTTP/1.1", "between agent and backend it is always 1.1"


def test_http_10_keep_alive(mesh):
    def run(c):
        rs = [c.request(version="1.0", headers=[("Connection", "keep-alive")]) for _ in range(3)]
        return [(r.status, (r.get("Connection") or "").lower()) for r in rs]
    assert on_conn(mesh, run) == [(200, "keep-alive")] * 3


def test_http_10_never_gets_chunks(mesh):
    def run(c):
        c.send(rawhttp.build(target="/?size=5000&chunked=1", version="1.0"))
        r = c.read_head()
        return r, c.read_to_eof()
    r, body = on_conn(mesh, run)
    assert r.get("Transfer-Encoding") is None
    assert body == pattern.piece(0, 5000)


def test_http_10_without_host(mesh):
    assert on_conn(mesh, lambda c: c.request(version="1.0", host=None).status) == 200


def test_expect_continue_is_passed_on_and_answered(mesh):
    def run(c):
        c.send("POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        first = c.read_head()
        c.send(b"hello")
        return first.status, c.read_response().seen["body_head"]
    assert on_conn(mesh, run) == (100, "hello")


def test_expect_continue_may_be_refused_without_the_body(mesh):
    def run(c):
        c.send("POST /?status=413&early=1&close=1 HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\n"
               "Content-Length: 500000\r\n\r\n")
        return c.read_response("POST").status
    assert on_conn(mesh, run) == 413


def test_expect_continue_for_an_answer_of_the_agent(mesh):
    def run(c):
        c.send("POST /none HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        return c.read_response("POST")
    r = on_conn(mesh, run)
    assert (r.status, r.informational) == (500, [])


def test_informational_answers_pass(mesh):
    r = mesh.fetch("/?info=102,103")
    assert r.status == 200
    assert [(i.status, i.get("X-Info")) for i in r.informational] == [(102, "102"), (103, "103")]


def test_an_early_answer_overtakes_the_request_body(mesh):
    def run(c):
        c.send("POST /?early=1&status=403 HTTP/1.1\r\nHost: web\r\nContent-Length: 200000\r\n\r\n")
        c.send(b"x" * 1000)
        r = c.read_response("POST")
        c.send(b"x" * 199000)
        return r.status
    assert on_conn(mesh, run) == 403


@pytest.mark.parametrize("body", [b"x" * 300000, [b"x" * 1000] * 300], ids=["length", "chunked"])
def test_an_answer_of_the_agent_takes_the_body_or_announces_the_close(mesh, body):
    def run(c):
        first = c.request("POST", "/none", body=body)
        if first.get("Connection") == "close":
            return first.status, c.at_eof()
        return first.status, c.request().status == 200
    assert on_conn(mesh, run) == (500, True)


def test_a_client_that_half_closes_still_gets_its_answer(mesh):
    def run(c):
        c.send(rawhttp.build(target="/?delay=200&size=100000"))
        c.sock.shutdown(socket.SHUT_WR)
        r = c.read_response()
        return r.status, len(r.body), c.at_eof()
    assert on_conn(mesh, run) == (200, 100000, True)


def test_a_client_that_goes_is_noticed_by_the_backend(mesh):
    def run(c):
        c.send(rawhttp.build(target="/?size=100000000&chunk=10000&pause=20"))
        return c.read_head().status
    assert on_conn(mesh, run) == 200
    peer = mesh.a.backend.seen()[0]["peer"]
    wait_for(lambda: peer not in mesh.a.backend.stats()["peers"], what="the backend to see the close")


def test_the_agent_answers_404_itself_with_a_length(mesh):
    r = mesh.fetch("/nowhere", "strict")
    assert r.status == 404
    assert r.get("Content-Length") is not None
    assert mesh.fetch("/only", "strict").status == 200
