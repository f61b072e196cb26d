# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 on either side, and what becomes of a message where the two sides differ (RFC 9113, RFC 8441)."""
import collections
import socket

import h2.errors
import pytest

from harness import h2client, manifests as m, pattern, rawhttp
from harness.wait import scaled, wait_for

CODES = h2.errors.ErrorCodes


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    # What the port says about the backend; the client's own port says nothing.
    w.add_service("one", [w.a], [m.port(80, 8080, app_protocol="http")], vip=("10.96.0.81", "fd00:96::81"))
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.82", "fd00:96::82"))
    w.add_service("silent", [w.c], [m.port(80, 9100)], vip=("10.96.0.83", "fd00:96::83"))
    # Few streams, no WebSocket.
    w.few = w.pod("few", serve=True)
    w.few.backend.set(streams=2, noprotocols=1)
    w.add_service("few", [w.few], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.85", "fd00:96::85"))
    w.add_service("pair", [w.a, w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")],
                  vip=("10.96.0.84", "fd00:96::84"))
    w.add_service("calls", [w.a], [m.port(80, 9100)], vip=("10.96.0.86", "fd00:96::86"))
    w.add_service("nobody", [], [m.port(80, 9100)], vip=("10.96.0.90", "fd00:96::90"))
    method = lambda name: {"matches": [{"method": {"service": "pkg.Svc", "method": name}}]}  # noqa: E731
    calls = m.route("calls", [{**method("Good"), **m.rule(backends="calls")},
                              {**method("Nobody"), **m.rule(backends="nobody")},
                              {**method("Nothing"), **m.rule(backends="nothing")}], parents=["calls"])
    w.write("calls.yaml", {**calls, "kind": "GRPCRoute"})
    w.route("few", [m.rule(backends="few")], parents=["few"])
    w.route("web", [m.rule(m.path("/one"), "one"), m.rule(m.path("/two"), "two"), m.rule(m.path("/silent"), "silent"),
                    m.rule(m.path("/pair"), "pair"),
                    m.rule(m.path("/split"), ["one", "two"]),
                    m.rule(m.path("/slow"), "two", timeouts={"request": "500ms"}),
                    m.rule(m.path("/patient"), "two", timeouts={"backendRequest": "500ms"}),
                    m.rule(m.path("/never"), "two", timeouts={"request": "0s", "backendRequest": "0s"}),
                    m.rule(m.path("/moved"), [], m.redirect(hostname="elsewhere", statusCode=302)),
                    m.rule(m.path("/header"), "two", [m.request_headers(set={"X-Set": "mesh"}, remove=["x-gone"]),
                                                      m.response_headers(add={"X-Added": "mesh"})]),
                    m.rule(m.path("/written"), "two", m.rewrite(prefix="/new", hostname="rewritten"))])
    for name in ("one", "two", "silent"):
        w.route(name, [m.rule(backends=name)], parents=[name])
    w.start()
    return w


@pytest.fixture(autouse=True)
def fresh(mesh):
    for pod in (mesh.a, mesh.b, mesh.c):
        pod.backend.reset()


def over(mesh, client, fn, service="web"):
    """fn(conn) in the client pod; both kinds of connection have the same request()."""
    module = h2client if client == "2" else rawhttp
    addr = mesh.addr(service)

    def run():
        with module.Conn(addr) as c:
            return fn(c)
    return mesh.client.call(run, timeout=60)


BOTH = pytest.mark.parametrize("client", ["1.1", "2"])
SERVERS = pytest.mark.parametrize("server", ["one", "two"])
VERSION = {"one": "HTTP/1.1", "two": "HTTP/2"}
POD = {"one": "a", "two": "b"}


def backend(mesh, server):
    return {"one": mesh.a, "two": mesh.b}[server].backend


# ---- what the backend is spoken to with ----

@BOTH
@pytest.mark.parametrize("target, by_client", [
    ("/one", {"1.1": "HTTP/1.1", "2": "HTTP/1.1"}),  # appProtocol says so
    ("/two", {"1.1": "HTTP/2", "2": "HTTP/2"}),  # likewise
])
def test_the_port_of_the_backend_chooses_the_protocol(mesh, client, target, by_client):
    r = over(mesh, client, lambda c: c.request(target=target))
    assert (r.status, r.seen["version"]) == (200, by_client[client])


def test_where_it_says_nothing_the_client_does(mesh):
    assert over(mesh, "2", lambda c: c.request(target="/silent")).seen["version"] == "HTTP/2"


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def test_answers_to_grpc_are_grpc(mesh):
    """Under a GRPCRoute: trailers-only, with the status that stands for what happened."""
    def run(c):
        answers = {}
        for name, target, extra in [("answered", "/pkg.Svc/Good?trailers=1", []), ("no rule", "/pkg.Svc/Other", []),
                                    ("no endpoint", "/pkg.Svc/Nobody", []), ("no backend", "/pkg.Svc/Nothing", []),
                                    ("cut", "/pkg.Svc/Good?reset=before", []),
                                    ("late", "/pkg.Svc/Good?delay=3000", [("grpc-timeout", "200m")])]:
            r = c.request("POST", target, headers=GRPC + extra, body=[b"12345"])
            fields = dict(r.headers) if "grpc-status" in dict(r.headers) else dict(r.trailers)
            answers[name] = r.status, fields.get("grpc-status"), r.get("content-type"), len(r.body) > 0
        return answers
    none = "application/grpc"
    assert over(mesh, "2", run, "calls") == {
        "answered": (200, "0", "application/json", True), "no rule": (200, "12", none, False),
        "no endpoint": (200, "14", none, False), "no backend": (200, "14", none, False),
        "cut": (200, "14", none, False), "late": (200, "4", none, False)}
    # What is no call gets HTTP, and so do calls under an HTTPRoute.
    assert over(mesh, "2", lambda c: c.request(target="/pkg.Svc/Other").status, "calls") == 404
    assert over(mesh, "2", lambda c: c.request("POST", "/none", headers=GRPC, body=[b"1"]).status) == 404


def test_grpc_is_never_translated(mesh):
    """appProtocol "http" is no statement about the version for what HTTP/1 cannot carry."""
    mesh.add_service("grpc", [mesh.b], [m.port(80, 9100, app_protocol="http")], vip=("10.96.0.87", "fd00:96::87"))
    mesh.route("grpc", [m.rule(backends="grpc")], parents=["grpc"])

    def run():
        with h2client.Conn(mesh.addr("grpc"), timeout=2) as c:
            return c.request("POST", "/pkg.Svc/Call", headers=[("content-type", "application/grpc+proto"),
                                                               ("te", "trailers")], body=b"12345")
    r = wait_for(lambda: mesh.client.call(run), 10)
    assert r.seen["version"] == "HTTP/2"
    assert r.seen.get_header("te") == "trailers"


# ---- messages ----

@BOTH
@SERVERS
def test_a_request_and_its_answer(mesh, client, server):
    r = over(mesh, client, lambda c: c.request("GET", f"/{server}/x?a=b&header=X-Back:1", "shop.example",
                                               [("X-One", "1"), ("Accept", "a"), ("Accept", "b")]))
    seen = r.seen
    assert (r.status, seen["version"], seen["method"]) == (200, VERSION[server], "GET")
    assert seen["target"] == f"/{server}/x?a=b&header=X-Back:1"
    assert (seen.get("authority") or seen.get_header("host")) == "shop.example"
    assert seen.all("x-one") == ["1"] and seen.all("accept") == ["a", "b"]
    assert r.get("x-back") == "1"
    for name in ("connection", "transfer-encoding", "keep-alive", "upgrade", "http2-settings"):
        assert seen.get_header(name) is None
        assert client == "1.1" or r.get(name) is None


@BOTH
@SERVERS
@pytest.mark.parametrize("body", ["none", "empty", "fixed", "endless"])
def test_request_bodies(mesh, client, server, body):
    content = {"none": None, "empty": b"", "fixed": pattern.piece(0, 300000),
               "endless": [pattern.piece(i * 20000, 20000) for i in range(20)]}[body]
    seen = over(mesh, client, lambda c: c.request("POST", f"/{server}", body=content)).seen
    whole = b"".join(content) if isinstance(content, list) else content or b""
    assert (seen["body_len"], seen["body_sha256"]) == (len(whole), pattern.digest(len(whole)))
    if body == "endless":
        assert seen.get_header("content-length") is None
    elif not (body == "none" and client == "1.1"):
        assert seen.get_header("content-length") == str(len(whole))
    assert backend(mesh, server).stats()["bad"] == []


@BOTH
@SERVERS
@pytest.mark.parametrize("options, length", [("size=0", "0"), ("size=300000", "300000"), ("size=300000&chunked=1", None),
                                             ("size=300000&trailers=1", None)])
def test_answer_bodies(mesh, client, server, options, length):
    r = over(mesh, client, lambda c: c.request(target=f"/{server}?{options}", headers=[("TE", "trailers")]
                                               if client == "2" else [("TE", "trailers"), ("Connection", "TE")]))
    n = int(options.split("&")[0][5:])
    assert (r.status, len(r.body), r.get("content-length")) == (200, n, length)
    assert r.body == pattern.piece(0, n)
    trailers = {k.lower(): v for k, v in r.trailers}
    assert trailers.get("x-trailer") == ("behind" if "trailers" in options else None)


@BOTH
@SERVERS
@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(mesh, client, server, method, status):
    def run(c):
        return c.request(method, f"/{server}?status={status}&size=77"), c.request(target=f"/{server}").status
    r, after = over(mesh, client, run)
    assert (r.status, r.body, after) == (status, b"", 200)
    assert r.get("content-length") == (None if status == 204 else "77")


@SERVERS
def test_trailers_of_a_request(mesh, server):
    seen = over(mesh, "2", lambda c: c.request("POST", f"/{server}", body=[b"abc"], trailers=[("x-sum", "42")])).seen
    assert [[n.lower(), v] for n, v in seen["trailers"]] == [["x-sum", "42"]]

    def run(c):
        c.send(f"POST /{server} HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
               "3\r\nabc\r\n0\r\nX-Sum: 42\r\nHost: evil\r\n\r\n")
        return c.read_response().seen
    seen = over(mesh, "1.1", run)
    assert [[n.lower(), v] for n, v in seen["trailers"]] == [["x-sum", "42"]]


@BOTH
@SERVERS
def test_interim_answers(mesh, client, server):
    r = over(mesh, client, lambda c: c.request(target=f"/{server}?info=103,199"))
    assert [i.status for i in r.informational] == [103, 199]
    assert [i.get("x-info") for i in r.informational] == ["103", "199"]


@SERVERS
def test_a_client_waits_for_100(mesh, server):
    def one(c):
        c.send(f"POST /{server} HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        first = c.read_head().status
        return first, c.send("abc").read_response().seen["body_head"]

    def two(c):
        id = c.open("POST", f"/{server}", headers=[("expect", "100-continue"), ("content-length", "3")], end=False)
        s = c.streams[id]
        c.wait(lambda: s.info)
        c.send(id, b"abc", end=True)
        return int(dict(s.info[0])[":status"]), c.read(id).seen["body_head"]
    assert over(mesh, "1.1", one) == over(mesh, "2", two) == (100, "abc")


@SERVERS
def test_cookies_are_one_line(mesh, server):
    """Crumbs are HTTP/2's own (RFC 9113 section 8.2.3)."""
    seen = over(mesh, "2", lambda c: c.request(target=f"/{server}", headers=[("cookie", "a=1"), ("cookie", "b=2")])).seen
    assert seen.all("cookie") == ["a=1; b=2"]


@SERVERS
def test_an_authority_may_be_a_host_line(mesh, server):
    def run(c):
        c.h2.config.validate_outbound_headers = False
        id = c.h2.get_next_available_stream_id()
        c.streams[id] = h2client.Stream()
        c.h2.send_headers(id, [(":method", "GET"), (":scheme", "http"), (":path", f"/{server}"), ("host", "by.host")],
                          end_stream=True)
        c.flush()
        return c.read(id).seen
    seen = over(mesh, "2", run)
    assert (seen.get("authority") or seen.get_header("host")) == "by.host"


def test_an_http_1_0_client_and_a_server_of_http_2(mesh):
    def run(c):
        c.send("GET /two?size=5&trailers=1 HTTP/1.0\r\n\r\n")
        r = c.read_response()
        return r.status, r.body, c.at_eof()
    assert over(mesh, "1.1", run) == (200, pattern.piece(0, 5), True), "without a length the close is the end"


# ---- rules ----

def test_each_stream_is_routed_on_its_own(mesh):
    def run(c):
        ids = [c.open(target=t) for t in ("/one", "/two", "/silent", "/none", "/moved") for _ in range(4)]
        return collections.Counter((r.status, r.seen["pod"] if r.status == 200 else r.get("location"))
                                   for r in map(c.read, ids))
    assert over(mesh, "2", run) == {(200, "a"): 4, (200, "b"): 4, (200, "c"): 4, (404, None): 4,
                                    (302, "http://elsewhere/moved"): 4}


def test_each_stream_is_balanced_on_its_own(mesh):
    def run(c):
        return collections.Counter(c.request(target=t).seen["pod"] for t in ("/split", "/pair") for _ in range(20))
    assert over(mesh, "2", run) == {"a": 20, "b": 20}


@BOTH
def test_filters(mesh, client):
    def run(c):
        return (c.request(target="/header", headers=[("X-Gone", "1"), ("X-Set", "mine")]),
                c.request(target="/written/x?q=1"))
    header, written = over(mesh, client, run)
    assert header.seen.get_header("x-set") == "mesh" and header.seen.get_header("x-gone") is None
    assert header.get("x-added") == "mesh"
    assert (written.seen["target"], written.seen["authority"]) == ("/new/x?q=1", "rewritten")


@BOTH
@pytest.mark.parametrize("target", ["/slow", "/patient"])
def test_timeouts(mesh, client, target):
    def run(c):
        return c.request(target=f"{target}?delay=5000").status, c.request(target="/two").status
    assert over(mesh, client, run) == (504, 200)
    wait_for(lambda: mesh.b.backend.stats()["resets"], 5)
    assert mesh.b.backend.stats()["resets"][0][2] == CODES.CANCEL, "the server is told to stop"


@BOTH
def test_zero_is_no_timeout(mesh, client):
    assert over(mesh, client, lambda c: c.request(target="/never?delay=600").status) == 200


def test_an_answer_under_way_is_cut_at_the_timeout(mesh):
    def run(c):
        with pytest.raises(h2client.Reset) as e:
            c.request(target="/slow?size=10000&chunk=10&pause=50")
        return e.value.code, c.request(target="/one").status
    assert over(mesh, "2", run) == (CODES.CANCEL, 200)


# ---- ends before the end ----

@SERVERS
@pytest.mark.parametrize("how", ["reset", "cut"])
@pytest.mark.parametrize("where, expected", [("before", 502), ("head", None), ("body", None)])
def test_a_server_that_fails(mesh, server, how, where, expected):
    """Only its own stream is hit."""
    def run(c):
        other = c.open(target="/silent?delay=300")
        try:
            outcome = c.request(target=f"/{server}?size=1000&{how}={where}").status
        except h2client.Reset as e:
            outcome = e.code
        return outcome, c.read(other).status
    assert over(mesh, "2", run) == (expected or CODES.INTERNAL_ERROR, 200)

    def old(c):
        try:
            return c.request(target=f"/{server}?size=1000&{how}={where}").status
        except (rawhttp.Closed, ConnectionResetError):
            return "cut"
    assert over(mesh, "1.1", old) == (expected or "cut")


def test_a_cancel_is_passed_on(mesh):
    def run(c):
        id = c.open(target="/two?size=1000000000")
        c.read_head(id)
        c.reset(id)
        return c.request(target="/two").status
    assert over(mesh, "2", run) == 200
    wait_for(lambda: mesh.b.backend.stats()["resets"], 5)
    assert mesh.b.backend.stats()["resets"][0][2] == CODES.CANCEL


@SERVERS
def test_a_client_that_goes(mesh, server):
    before = mesh.metrics().sum("sluice_end_reason_total", reason="client_closed")

    def run(c):
        for _ in range(3):
            c.read_head(c.open(target=f"/{server}?size=1000000000"))
    over(mesh, "2", run)
    wait_for(lambda: mesh.metrics().sum("sluice_end_reason_total", reason="client_closed") >= before + 3, 5)


def test_an_answer_before_the_request_ended(mesh):
    """The rest is not wanted: the client is told so, and the connection goes on."""
    def run(c):
        id = c.open("POST", "/none", end=False)
        r = c.read(id)
        c.wait(lambda: c.streams[id].code is not None, "the reset")
        return r.status, c.streams[id].code, c.request(target="/two").status
    assert over(mesh, "2", run) == (404, CODES.NO_ERROR, 200)


def test_an_answer_before_the_frame_that_ends_the_request(mesh):
    """All that was announced has come: no reset between the last byte and the end."""
    def run(c):
        id = c.open("POST", "/one", headers=[("content-length", "5")], end=False)
        c.send(id, b"whole")
        first = c.read(id)
        c.h2.end_stream(id)
        c.flush()
        return first.status, c.request(target="/two").status, c.streams[id].code
    assert over(mesh, "2", run) == (200, 200, None)


@SERVERS
def test_a_half_closed_connection_is_answered(mesh, server):
    def run(c):
        id = c.open(target=f"/{server}?delay=200&size=1000")
        c.sock.shutdown(socket.SHUT_WR)
        s = c.streams[id]
        while not s.ended:
            for e in c.h2.receive_data(c.sock.recv(65536)):
                c._event(e)
        return c.response(s).status, len(s.body)
    assert over(mesh, "2", run) == (200, 1000)


# ---- back-pressure ----

@SERVERS
def test_a_stalled_stream_stalls_nobody_else(mesh, server):
    def run(c):
        c.h2.increment_flow_control_window(1 << 24)
        stalled = c.open(target=f"/{server}?size=50000000")
        c.hold.add(stalled)
        c.wait(lambda: len(c.streams[stalled].body) == 65535, "a window of the answer")
        others = [len(c.request(target=f"/{server}?size=300000").body) for _ in range(3)]
        got = len(c.streams[stalled].body)
        c.reset(stalled)
        return others, got
    assert over(mesh, "2", run) == ([300000] * 3, 65535)


@BOTH
def test_a_server_that_does_not_read_stalls_its_client(mesh, client):
    mesh.b.backend.set(stop_reading=1)

    def run():
        sock = h2client.connect(mesh.addr())
        sock.settimeout(1)
        sent = 0
        if client == "1.1":
            sock.sendall(b"POST /two HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\n")
            try:
                while True:
                    sent += sock.send(b"x" * 65536)
            except socket.timeout:
                return sent
        with h2client.Conn(None, sock=sock, settings=None) as c:
            id = c.open("POST", "/two", end=False)
            try:
                while True:
                    c.send(id, b"x" * 16384)
                    sent += 16384
            except socket.timeout:
                return sent
    sent = mesh.client.call(run, timeout=60)
    assert 65535 <= sent < (1 << 20 if client == "2" else 16 << 20)


# ---- connections to servers ----

def test_streams_share_a_connection(mesh):
    def run(c):
        return {r.seen["conn"] for r in map(c.read, [c.open(target="/two") for _ in range(20)])}
    assert len(over(mesh, "2", run)) <= 2, "one for each of the two workers at most"


def test_connections_that_many_streams_used_are_kept(mesh):
    """HTTP/1 needs one for each stream at a time; the streams after them dial no new ones."""
    target = f"/one?delay={round(scaled(0.2) * 1000)}"

    def run(c):
        return {r.seen["conn"] for _ in range(3) for r in map(c.read, [c.open(target=target) for _ in range(90)])}
    assert len(over(mesh, "2", run)) <= 90


def test_a_full_connection_gets_a_sister(mesh):
    """SETTINGS_MAX_CONCURRENT_STREAMS of the server holds, and nobody waits for it."""
    def run(c):
        ids = [c.open(target="/?delay=1000") for _ in range(10)]
        return collections.Counter(c.read(id).seen["conn"] for id in ids)
    by_conn = over(mesh, "2", run, "few")
    assert sum(by_conn.values()) == 10 and max(by_conn.values()) <= 2


@BOTH
@pytest.mark.parametrize("setting", ["refuse", "goaway"])
def test_what_the_server_did_not_touch_is_sent_again(mesh, client, setting):
    mesh.b.backend.set(**{setting: 1})
    seen = over(mesh, client, lambda c: c.request("POST", "/two", body=pattern.piece(0, 5000))).seen
    assert (seen["body_len"], seen["body_sha256"]) == (5000, pattern.digest(5000))
    assert mesh.metrics().sum("sluice_upstream_retries_total", reason="refused") > 0


def test_but_not_for_ever(mesh):
    mesh.b.backend.set(refuse=1000)
    assert over(mesh, "2", lambda c: c.request("POST", "/two").status) == 503
    mesh.b.backend.set(refuse=0)


def test_a_connection_that_the_server_closed_is_not_missed(mesh):
    assert over(mesh, "2", lambda c: c.request(target="/two").status) == 200
    mesh.b.backend.set(goaway=1)
    assert over(mesh, "2", lambda c: [c.request(target="/two").status for _ in range(5)]) == [200] * 5


# ---- tunnels ----

WS = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def frames(c, id, n):
    c.wait(lambda: len(c.streams[id].body) >= n, "the echo")
    return c.streams[id].body


@SERVERS
def test_websocket_from_http_2(mesh, server):
    text = bytes([0x81, 0x85, 1, 2, 3, 4]) + bytes(b ^ k for b, k in zip(b"hello", [1, 2, 3, 4, 1]))

    def run(c):
        c.wait(lambda: c.settled)
        id = c.open("CONNECT", f"/{server}", protocol="websocket", end=False,
                    headers=[("sec-websocket-version", "13")])
        head = c.read_head(id)
        c.send(id, text)
        back = frames(c, id, 7 if server == "one" else len(text))
        c.end(id)
        c.wait(lambda: c.streams[id].ended or c.streams[id].code is not None)
        return head.status, head.get("x-pod"), head.get("sec-websocket-accept"), back, c.streams[id].code
    echo = b"\x81\x05hello" if server == "one" else text
    assert over(mesh, "2", run) == (200, POD[server], None, echo, None)


def test_websocket_to_a_server_of_http_2(mesh):
    text = b"\x81\x85\1\2\3\4" + b"hello"

    def run(c):
        r = c.request(target="/two", headers=WS)
        c.send(text)
        back = c.read_exact(len(text))
        c.sock.shutdown(socket.SHUT_WR)
        return r.status, r.get("upgrade"), r.get("sec-websocket-accept"), back, c.at_eof()
    assert over(mesh, "1.1", run) == (101, "websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", text, True)
    assert mesh.b.backend.seen()[-1]["protocol"] == "websocket"


def test_an_upgrade_that_nobody_takes(mesh):
    old = over(mesh, "1.1", lambda c: c.request(headers=WS).status, "few")

    def run(c):
        c.wait(lambda: c.settled)
        return c.read_head(c.open("CONNECT", "/", protocol="websocket", end=False)).status
    new = over(mesh, "2", run, "few")
    assert (old, new) == (200, 501), "a server of HTTP/1 may leave it aside (RFC 9110 section 7.8)"


# ---- how a connection begins and ends ----

@pytest.mark.parametrize("service", ["web", "one", "two"])
@pytest.mark.parametrize("pieces", [[24], [1, 23], [3, 13, 8], [18, 6], [14, 10]])
def test_prior_knowledge_is_recognised(mesh, service, pieces):
    rest = h2client.frame(h2client.SETTINGS) + h2client.frame(h2client.HEADERS, 5, 1, h2client.GET)

    def run():
        with h2client.connect(mesh.addr(service)) as s:
            at = 0
            for n in pieces:
                s.sendall(h2client.MAGIC[at:at + n])
                at += n
            s.sendall(rest)
            return s.recv(9)[3]
    assert mesh.client.call(run) == h2client.SETTINGS


@pytest.mark.parametrize("service", ["web", "one", "two"])
def test_curl_upgrades(mesh, service):
    url = f"http://{mesh.vips[service][0]}/two?size=1000"
    out = mesh.client.run(["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download} ",
                           url, "--next", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_code}", url]).stdout
    assert out == "200 2 1000 200"


@pytest.mark.parametrize("service", ["web", "one", "two"])
def test_curl_knows_before(mesh, service):
    out = mesh.client.run(["curl", "-sS", "--http2-prior-knowledge", "-d", "@/etc/services", "-w", " %{http_version}",
                           f"http://{mesh.vips[service][0]}/two"]).stdout
    assert out.endswith(" 2") and '"method": "POST"' in out


@pytest.mark.parametrize("target", ["/one?size=1000", "/two?size=1000", "/one?size=100000&chunked=1", "/two?size=100000"])
def test_h2load(mesh, target):
    out = mesh.client.run(["h2load", "-n", "1000", "-c", "4", "-m", "25", f"http://{mesh.vips['web'][0]}{target}"]).stdout
    assert "1000 succeeded, 0 failed, 0 errored" in out


NODE = """
const http2 = require('http2');
const c = http2.connect(process.argv[1]);
let left = 20;
for (let i = 0; i < 20; i++) {
  const r = c.request({':method': 'POST', ':path': i % 2 ? '/one' : '/two', te: 'trailers'});
  let status, text = '';
  r.on('response', h => { status = h[':status']; });
  r.setEncoding('utf8');
  r.on('data', d => { text += d; });
  r.on('end', () => {
    const seen = JSON.parse(text);
    console.log(status, seen.pod, seen.body_len);
    if (--left == 0) c.close();
  });
  r.end('x'.repeat(i * 10000));
}
"""


def test_node(mesh):
    out = mesh.client.run(["node", "-e", NODE, f"http://{mesh.vips['web'][0]}"]).stdout
    assert sorted(out.split("\n")[:-1]) == sorted(f"200 {'ab'[i % 2 == 0]} {i * 10000}" for i in range(20))


def test_nghttpd_as_a_server(mesh):
    (folder := mesh.folder)
    with open(f"{folder}/index.html", "w") as f:
        f.write("x" * 200000)
    server = mesh.c.popen(["nghttpd", "--no-tls", "-d", folder, "9101"])
    try:
        mesh.add_service("nghttpd", [mesh.c], [m.port(80, 9101, app_protocol="kubernetes.io/h2c")],
                         vip=("10.96.0.89", "fd00:96::89"))
        mesh.route("nghttpd", [m.rule(backends="nghttpd")], parents=["nghttpd"])
        wait_for(lambda: mesh.fetch("/index.html", service="nghttpd", timeout=1).status == 200, 10)
        url = f"http://{mesh.vips['nghttpd'][0]}/index.html"
        out = mesh.client.run(["h2load", "-n", "200", "-c", "2", "-m", "10", url]).stdout
        assert "200 succeeded, 0 failed, 0 errored" in out
        assert len(mesh.fetch("/index.html", service="nghttpd").body) == 200000
    finally:
        server.kill()
        server.wait()


def test_connections_are_shown(mesh):
    def run(task):
        with h2client.Conn(mesh.addr()) as c:
            id = c.open(target="/two?delay=3000")
            task.report("asked")
            c.read(id)
    task = mesh.spawn(mesh.client, run)
    task.next_report()

    def shown():
        return [c for c in mesh.ctl("conns")["connections"] if c.get("path") == "/two?delay=3000"]
    conn = wait_for(shown, 5)[0]
    assert conn["protocol"] == "HTTP/2" and conn["state"] == "waiting"


def test_the_log_says_which_protocol(mesh):
    over(mesh, "2", lambda c: c.request(target="/two?logged"))
    record = wait_for(lambda: [r for r in mesh.access_records() if r.get("path") == "/two?logged"], 5)[0]
    assert (record["protocol"], record["status"], record["end_reason"]) == ("HTTP/2", 200, "complete")
