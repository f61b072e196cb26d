# SPDX-License-Identifier: Apache-2.0
"""Filters that do more than edit a message, for clients and backends of HTTP/1 and HTTP/2."""
import os
import time

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import wait_for

LISTED = {"allowOrigins": ["https://www.foo.com", "https://*.bar.com"], "allowMethods": ["GET", "OPTIONS"],
          "allowHeaders": ["x-header-1", "x-header-2"], "exposeHeaders": ["x-header-3"], "allowCredentials": True,
          "maxAge": 3600}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("one", [w.a], [m.port(80, 8080, app_protocol="http")])
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")])
    w.route("cors", [rule for server in ("one", "two") for rule in (
        m.rule(m.path(f"/cors/{server}"), server, m.cors(**LISTED)),
        m.rule(m.path(f"/cors-backend/{server}"), m.backend(server, filters=m.cors(allowOrigins=["*"]))))])
    w.add_service("shadow-one", [w.c], [m.port(80, 8080, app_protocol="http")])
    w.add_service("shadow-two", [w.c], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], ns="other")
    w.add_service("shadow-none", [])
    w.route("mirrors", [
        m.rule(m.path("/mirror/one"), "one", [m.mirror("shadow-two", ns="other")]),
        m.rule(m.path("/mirror/two"), "two", [m.mirror("shadow-one"), m.rewrite(prefix="/rewritten")]),
        m.rule(m.path("/mirrors"), "one", [m.mirror("shadow-none"), m.mirror("shadow-one"), m.mirror("b")]),
    ])
    w.route("auth", [m.rule(m.path(f"/auth/{server}"), server, m.auth(
        guard, http={"path": "/check", "allowedHeaders": ["x-a"], "allowedResponseHeaders": ["x-pod"]},
        forwardBody={"maxSize": 70000}))
        for server, guard in (("one", "guard-two"), ("two", "guard-one"))] + [
        m.rule(m.path("/auth/nobody"), "one", m.auth("shadow-none")),
        m.rule(m.path("/auth/grpc"), "one", m.auth("guard-two", "GRPC"))])
    w.route("guarded", [m.rule(m.path(f"/guarded/{server}"), server, m.auth("guard-grpc", "GRPC")) for server in ("one", "two")])
    w.add_service("guard-grpc", [w.c], [m.port(80, 9301, app_protocol="kubernetes.io/h2c")])
    guard = w.c.popen(["/usr/bin/python3", os.path.join(os.path.dirname(__file__), "clients", "grpc_guard.py"), "9301"])
    w.add_service("guard-one", [w.c], [m.port(80, 8080, app_protocol="http")])
    w.add_service("guard-two", [w.c], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")])
    w.start()
    wait_for(lambda: ":9301 " in w.c.run(["ss", "-ltnH"]).stdout, 20, what="the authorization service")
    yield w
    guard.kill()
    guard.wait()


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


def cors_of(r):
    return {n.lower(): v for n, v in r.headers if n.lower().startswith("access-control") or n.lower() == "vary"}


@BOTH
@SERVERS
def test_cors(mesh, client, server):
    ask = [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x-header-1")]

    def run(c):
        return [c.request(method, target, headers=[("Origin", origin)] + more) for method, target, origin, more in (
            ("OPTIONS", f"/cors/{server}", "https://www.foo.com", ask),
            ("OPTIONS", f"/cors/{server}", "https://foobar.com", ask),
            ("GET", f"/cors/{server}", "https://x.www.bar.com", []),
            ("GET", f"/cors/{server}?header=Access-Control-Allow-Origin:*", "https://foobar.com", []),
            ("OPTIONS", f"/cors-backend/{server}", "https://foobar.com", ask),
            ("PUT", f"/cors-backend/{server}", "https://foobar.com:12345", []))]
    answers = over(mesh, client, run)
    assert [r.status for r in answers] == [200] * 6
    reads = {"vary": "Origin", "access-control-allow-credentials": "true", "access-control-expose-headers": "x-header-3"}
    assert [cors_of(r) for r in answers] == [
        {**reads, "access-control-allow-origin": "https://www.foo.com", "access-control-allow-methods": "GET, OPTIONS",
         "access-control-allow-headers": "x-header-1, x-header-2", "access-control-max-age": "3600"},
        {"vary": "Origin"}, {**reads, "access-control-allow-origin": "https://x.www.bar.com"}, {"vary": "Origin"},
        {"access-control-allow-origin": "*", "access-control-max-age": "5"}, {"access-control-allow-origin": "*"}]
    assert [bool(r.body) for r in answers] == [False, False, True, True, False, True]
    # Preflights reach no backend; what does is as it came.
    seen = (mesh.a if server == "one" else mesh.b).backend.seen()
    assert [(s["method"], s.get_header("origin")) for s in seen] == [
        ("GET", "https://x.www.bar.com"), ("GET", "https://foobar.com"), ("PUT", "https://foobar.com:12345")]


def test_explain_knows_a_preflight(mesh):
    argv = ["--from", "shop/client", "OPTIONS", "http://web/cors/one", "-H", "Origin: https://www.foo.com",
            "-H", "Access-Control-Request-Method: GET"]
    out = mesh.ctl_run("explain", *argv, output=None).stdout
    assert "answered with 200 by the CORS filter" in out and "CORS" in out.split("Result")[0]


def logged(mesh, path):
    """Each worker writes its part of the log when it comes to it: only lines of one connection are in order."""
    return [r for r in mesh.access_records() if r.get("path", "").split("?")[0] == path]


# ---- RequestMirror ----

def seen_by(pod, n, what="a request"):
    """What the pod saw once it has seen n requests, bodies and all."""
    def look():
        seen = pod.backend.seen()
        return seen if len(seen) >= n and all("body_len" in s for s in seen) else None
    return wait_for(look, what=what)


@BOTH
@SERVERS
def test_a_mirror_sees_what_the_backend_sees(mesh, client, server):
    body, trailers = [b"x" * 30000, b"y" * 30000], [("X-Trailer", "end")] if client == "2" else None

    def run(c):
        more = {"trailers": trailers} if trailers else {}
        return [c.request("GET", f"/mirror/{server}?q"),
                c.request("POST", f"/mirror/{server}", headers=[("X-A", "b")], body=body, **more)]
    answers = over(mesh, client, run)
    assert [r.seen["pod"] for r in answers] == ["a" if server == "one" else "b"] * 2
    copies = sorted(seen_by(mesh.c, 2), key=lambda s: s["method"])
    assert [(s["method"], s["target"], s["body_len"], s.get_header("x-a")) for s in copies] == [
        ("GET", f"/mirror/{server}?q", 0, None), ("POST", f"/mirror/{server}", 60000, "b")]
    assert {s["version"] for s in copies} == {"HTTP/2" if server == "one" else "HTTP/1.1"}
    assert copies[1]["body_sha256"] == answers[1].seen["body_sha256"]
    assert copies[1]["trailers"] == answers[1].seen["trailers"]
    assert {s["peer"][0] for s in copies} == {mesh.client.v4}
    if server == "two":
        assert answers[0].seen["target"] == "/rewritten?q"


@BOTH
def test_mirrors_neither_delay_nor_break(mesh, client):
    """One goes nowhere, one never answers, one answers with nonsense: nobody notices."""
    mesh.c.backend.set(stop_reading=1)
    mesh.b.backend.set(raw="nonsense")
    before = mesh.metrics()

    def run(c):
        started = time.monotonic()
        for _ in range(20):
            r = c.request("POST", "/mirrors", body=b"z" * 10000)
            assert (r.status, r.seen["pod"], r.seen["body_len"]) == (200, "a", 10000)
        return time.monotonic() - started
    assert over(mesh, client, run) < 5
    wait_for(lambda: mesh.metrics().sum("sluice_mirrors_total", result="failed") >=
             before.sum("sluice_mirrors_total", result="failed") + 40, what="the mirrors that fail")
    mesh.c.backend.set(stop_reading=0)
    wait_for(lambda: mesh.metrics().sum("sluice_mirrors_total", result="answered") ==
             before.sum("sluice_mirrors_total", result="answered") + 20, what="the mirrors that waited")
    assert mesh.metrics().sum("sluice_side_requests_active") == 0
    assert mesh.metrics().sum("sluice_requests_active") == 0
    wait_for(lambda: [r["mirrors"] for r in logged(mesh, "/mirrors")[-20:]] == [3] * 20, what="the log")


# ---- ExternalAuth ----

@BOTH
@SERVERS
def test_an_authorization_sees_the_request_before_the_backend(mesh, client, server):
    target, body = f"/auth/{server}", b"b" * 60000

    def run(c):
        return [c.request("POST", target, headers=[("X-A", "1"), ("X-B", "2")], body=body),
                c.request("GET", f"{target}?status=401&header=WWW-Authenticate:basic"),
                c.request("GET", f"{target}?reset=before")]
    answers = over(mesh, client, run)
    assert [r.status for r in answers] == [200, 401, 403]
    backend = (mesh.a if server == "one" else mesh.b).backend.seen()
    assert len(backend) == 1, "what was not allowed reaches no backend"
    seen, asked = answers[0].seen, mesh.c.backend.seen()[0]
    assert (seen["body_len"], seen.get_header("x-pod"), seen.get_header("x-b")) == (60000, "c", "2")
    assert (asked["method"], asked["target"], asked.get("authority") or asked.get_header("host"), asked.get_header("x-a"), asked.get_header("x-b")) == (
        "POST", f"/check{target}", "web", "1", None)
    assert asked["body_sha256"] == seen["body_sha256"]
    assert asked["version"] == ("HTTP/2" if server == "one" else "HTTP/1.1")
    assert (answers[1].get("www-authenticate"), answers[1].get("x-pod")) == ("basic", "c")
    wait_for(lambda: [r["end_reason"] for r in logged(mesh, target)[-3:]] == ["complete", "denied", "auth_failed"],
             what="the log")


@BOTH
def test_without_a_clear_answer_nothing_passes(mesh, client):
    """Nobody is there; who is there does not speak gRPC; the body is too long to be shown."""
    def run(c):
        return [c.request(target="/auth/nobody").status, c.request(target="/auth/grpc").status,
                c.request("POST", "/auth/one", body=b"b" * 70001).status]
    assert over(mesh, client, run) == [403, 403, 413]
    assert mesh.a.backend.seen() == []


@BOTH
@SERVERS
def test_an_authorization_over_grpc_edits_request_and_answer(mesh, client, server):
    """By grpcio: headers and query parameters of the request, headers of the answer; or the whole of a denial."""
    target = f"/guarded/{server}"

    def run(c):
        return [c.request("POST", f"{target}?t%6Fken=x&header=X-Echo:backend&user=old",
                          headers=[("X-User", "forged"), ("X-Secret", "s")], body=b"body"),
                c.request(target=f"{target}/denied")]
    allowed, denied = over(mesh, client, run)
    assert allowed.status == 200
    seen = allowed.seen
    assert seen["target"] == f"{target}?header=X-Echo:backend&user=a%20b%26c"
    assert (seen.get_header("x-user"), seen.get_header("x-secret"), seen["body_len"]) == ("me", None, 4)
    assert [v for n, v in allowed.headers if n.lower() == "x-quota"] == ["3"]
    assert [v for n, v in allowed.headers if n.lower() == "x-echo"] == ["guard"], "in place of the backend's"
    assert allowed.get("x-absent") is None
    assert (denied.status, denied.get("retry-after"), denied.body) == (429, "7", b"slow down")
    assert len((mesh.a if server == "one" else mesh.b).backend.seen()) == 1
