# SPDX-License-Identifier: Apache-2.0
"""sessionPersistence: who comes again with what he was given gets the endpoint that he had."""
import json

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import wait_for

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    h2c = [m.port(80, 9100, app_protocol="kubernetes.io/h2c")]
    w.add_service("two", [w.a, w.b, w.c], h2c, vip=("10.96.0.91", "fd00:96::91"))
    w.add_service("calls", [w.a, w.b, w.c], h2c, vip=("10.96.0.92", "fd00:96::92"))
    w.add_service("one", [w.a, w.b, w.c], [m.port(app_protocol="http")], vip=("10.96.0.93", "fd00:96::93"))
    cookie = {"cookie": {}}
    w.route("web", [m.rule(m.path("/one"), "one", sessionPersistence=cookie),
                    m.rule(m.path("/two"), "two", sessionPersistence=cookie),
                    m.rule(m.path("/header"), "one", sessionPersistence={"type": "Header", "header": {"name": "X-Pin"}}),
                    m.rule(m.path("/split"), ["one", "two"], sessionPersistence={"cookie": {"name": "pin"}}),
                    m.rule(m.path("/free"), "one"),
                    m.rule(m.path("/policy"), "kept"),
                    m.rule(m.path("/own"), "kept", sessionPersistence={"cookie": {"name": "own"}}),
                    m.rule(m.path("/pods"), m.xref("pods"), sessionPersistence={"cookie": {"name": "own"}})])
    w.add_service("kept", [w.a, w.b, w.c], [m.port(app_protocol="http")], vip=("10.96.0.94", "fd00:96::94"))
    w.write("more.yaml", [m.retry_budget("kept", ["kept"], session=cookie),
                          m.xbackend("pods", labels={"app": "pay"}, port=8080, protocol="HTTP11",
                                     sessionPersistence={"cookie": {"name": "x"}}),
                          *(labelled(pod) for pod in (w.a, w.b, w.c))])
    w.grpc_route("calls", [m.rule(backends="calls", sessionPersistence={"type": "Header", "header": {"name": "x-pin"}})],
                 parents=["calls"])
    w.start()
    return w


def labelled(pod):
    p = m.pod(pod, {"app": "pay"})
    p["metadata"].update(name=f"pay-{pod.name}", uid=f"pay-{pod.uid}")
    return p


CLIENTS = pytest.mark.parametrize("client", ["1.1", "2"])


def ask(mesh, client, target, n=1, headers=(), service="web", **kw):
    module = h2client if client == "2" else rawhttp
    addr = mesh.addr(service)

    def run():
        with module.Conn(addr) as c:
            return [c.request(target=target, headers=list(headers), **kw) for _ in range(n)]
    return mesh.client.call(run)


def pods(answers):
    return {r.seen["pod"] for r in answers}


@CLIENTS
@pytest.mark.parametrize("target", ["/one", "/two"])
def test_a_cookie(mesh, client, target):
    assert len(pods(ask(mesh, client, target, 9))) == 3, "strangers are balanced"
    first, = ask(mesh, client, target)
    cookie = first.get("set-cookie")
    assert "HttpOnly" in cookie and mesh.a.v4 not in cookie
    pair = cookie.split(";")[0]
    again = ask(mesh, client, target, 9, [("cookie", f"x=1; {pair}")])
    assert pods(again) == {first.seen["pod"]}
    assert {r.get("set-cookie") for r in again} == {None}
    assert again[0].seen.get_header("cookie") == f"x=1; {pair}", "the backend sees it too"
    assert len(pods(ask(mesh, client, "/free", 9, [("cookie", pair)]))) == 3, "another rule has nothing of it"


@CLIENTS
def test_a_header(mesh, client):
    first, = ask(mesh, client, "/header")
    pin = [("x-pin", first.get("x-pin"))]
    assert pods(ask(mesh, client, "/header", 9, pin)) == {first.seen["pod"]}


@CLIENTS
@pytest.mark.parametrize("target, name", [("/policy", "sluice.XBackendTrafficPolicy.shop.kept"), ("/own", "own"), ("/pods", "x")])
def test_of_a_policy_and_of_an_xbackend(mesh, client, target, name):
    """A rule's goes before a policy's, an XBackend's before a rule's."""
    wait_for(lambda: ask(mesh, client, target)[0].status == 200)
    assert len(pods(ask(mesh, client, target, 9))) == 3
    first, = ask(mesh, client, target)
    pair = first.get("set-cookie").split(";")[0]
    assert pair.split("=")[0] == name
    again = ask(mesh, client, target, 9, [("cookie", pair)])
    assert pods(again) == {first.seen["pod"]} and {r.get("set-cookie") for r in again} == {None}


def test_calls_of_grpc(mesh):
    def call(n=1, extra=()):
        return ask(mesh, "2", "/pkg.Svc/Do", n, GRPC + list(extra), "calls", method="POST", body=[b"12345"])
    assert len(pods(call(9))) == 3
    first, = call()
    assert pods(call(9, [("x-pin", first.get("x-pin"))])) == {first.seen["pod"]}


@CLIENTS
def test_weights_come_first(mesh, client):
    """A session with each backend, in one cookie."""
    value, seen = "", {"HTTP/1.1": set(), "HTTP/2": set()}
    for _ in range(12):
        r, = ask(mesh, client, "/split", headers=[("cookie", value)] if value else [])
        if r.get("set-cookie"):
            value = r.get("set-cookie").split(";")[0]
        seen[r.seen["version"]].add(r.seen["pod"])
    assert [len(p) for p in seen.values()] == [1, 1]


def test_a_session_outlives_the_agent(mesh):
    first, = ask(mesh, "1.1", "/one")
    pair = [("cookie", first.get("set-cookie").split(";")[0])]
    mesh.agent.stop()
    mesh.start()
    assert pods(ask(mesh, "1.1", "/one", 9, pair)) == {first.seen["pod"]}


def test_an_endpoint_that_went(mesh):
    first, = ask(mesh, "1.1", "/one")
    pair = [("cookie", first.get("set-cookie").split(";")[0])]
    gone = next(p for p in (mesh.a, mesh.b, mesh.c) if p.name == first.seen["pod"])
    ports = [m.port(app_protocol="http")]
    mesh.add_service("one", [p for p in (mesh.a, mesh.b, mesh.c) if p is not gone], ports,
                     vip=("10.96.0.93", "fd00:96::93"))
    moved = wait_for(lambda: next((r for r in ask(mesh, "1.1", "/one", 1, pair) if r.seen["pod"] != gone.name), None))
    pair = [("cookie", moved.get("set-cookie").split(";")[0])]
    assert pods(ask(mesh, "1.1", "/one", 9, pair)) == {moved.seen["pod"]}
    mesh.add_service("one", [mesh.a, mesh.b, mesh.c], ports, vip=("10.96.0.93", "fd00:96::93"))
    assert mesh.metrics().sum("sluice_sessions_total", result="moved") >= 1


def test_explain_shows_it(mesh):
    answer = json.loads(mesh.ctl_run("explain", "GET", "http://web.shop/header").stdout)
    assert answer["rule"]["session"] == {"type": "Header", "name": "X-Pin", "absolute_timeout_ms": 0,
                                         "idle_timeout_ms": 0}


def test_explain_shows_whose_it_is(mesh):
    def backend(path):
        return json.loads(mesh.ctl_run("explain", "GET", f"http://web.shop{path}").stdout)["backends"][0]
    assert backend("/policy")["session"]["name"] == "sluice.XBackendTrafficPolicy.shop.kept"
    assert backend("/pods")["session"]["name"] == "x"
    assert "session" not in backend("/own"), "the rule's"
    assert "keeps sessions by x" in mesh.ctl_run("explain", "GET", "http://web.shop/pods", output=None).stdout
