# SPDX-License-Identifier: Apache-2.0
"""Shadow routes: evaluated on live traffic over HTTP/1, HTTP/2 and gRPC, and nothing changes."""
import json

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import wait_for

SHADOW = {"sluice.dev/shadow": "true"}
CLIENTS = {"http1": rawhttp.Conn, "http2": h2client.Conn}
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    # Beside an enforced route, and alone; port 9100 of the backends speaks HTTP/2.
    w.add_service("both", [w.a], vip=("10.96.0.201", "fd00:96::201"))
    w.add_service("http", [w.a], [m.port(app_protocol="http")], vip=("10.96.0.205", "fd00:96::205"))
    w.route("both-now", [m.rule(backends="http")], ["both"])
    w.route("both-next", [m.rule(m.path("/new"), "b", m.rewrite(prefix="/old"), timeouts={"request": "5s"}),
                          m.rule(m.path("/same"), "http"),
                          m.rule(m.path("/moved"), filters=m.redirect(hostname="x.example")),
                          {"name": "chaos", **m.rule(m.path("/chaos"), "http")}],
            ["both"], annotations=SHADOW)
    w.write("faults.yaml", [m.faults("chaos", ("HTTPRoute", "both-next", "chaos"),
                                     {"abort": {"percent": 100, "httpStatus": 503}})])
    w.add_service("alone", [w.a], vip=("10.96.0.202", "fd00:96::202"))
    w.route("alone-next", [m.rule(m.path("/new"), "b")], ["alone"], annotations=SHADOW)
    w.add_service("h2", [w.a], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.203", "fd00:96::203"))
    w.grpc_route("h2-next", [{"matches": [{"method": {"service": "pkg.Echo"}}], **m.rule(backends="b")}], ["h2"],
                 annotations=SHADOW)
    w.add_service("bytes", [w.a], [m.port(80, 9000, app_protocol="http")], vip=("10.96.0.204", "fd00:96::204"),
                  annotations={"sluice.dev/failure-policy": "closed"})
    w.route("bytes-next", [m.rule(backends="b")], ["bytes"], annotations=SHADOW)
    w.l4_route("TCPRoute", "tcp-next", "a", ["a"], annotations=SHADOW)
    w.start()
    return w


def counts(mesh, service):
    return {(labels["route"], labels["rule"], labels["result"]): value for name, labels, value in mesh.metrics()
            if name == "sluice_shadow_requests_total" and labels["service"] == f"shop/{service}:80"}


def ask(mesh, client, service, target, **kw):
    """The answer, which shadow count it made greater by one, and its line in the log."""
    before = counts(mesh, service)
    n = len(mesh.access_records())
    addr = mesh.addr(service)

    def run():
        with CLIENTS[client](addr) as c:
            return c.request(target=target, **kw)
    r = mesh.client.call(run)
    line = wait_for(lambda: [r for r in mesh.access_records()[n:] if r.get("path") == target], what="the log")[0]
    after = counts(mesh, service)
    grown = [k for k in after if after[k] != before.get(k, 0)]
    assert len(grown) == 1 and after[grown[0]] == before.get(grown[0], 0) + 1
    return r, grown[0], {k: v for k, v in line.items() if k.startswith("shadow")}, line


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("target, rule, differs", [
    ("/new/x", "0", "backends,path,timeouts"),
    ("/same", "1", None),
    ("/moved", "2", "answer"),
    ("/chaos", "chaos", "faults"),
    ("/other", "", None),
])
def test_beside_enforced_routes(mesh, client, target, rule, differs):
    r, counted, shadow, line = ask(mesh, client, "both", target)
    assert (r.status, r.seen["pod"], r.seen["target"]) == (200, "a", target)
    assert line["route"] == "HTTPRoute/shop/both-now"
    route = "HTTPRoute/shop/both-next" if rule else ""
    assert counted == (route, rule, "differs" if differs else "same" if rule else "unaffected")
    assert shadow == ({"shadow_route": route, "shadow_rule": rule, "shadow_differs": differs} if differs else {})


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("target, rule, differs", [("/new", "0", "backends"), ("/other", "", "answer")])
def test_alone_requests_go_to_the_service_itself(mesh, client, target, rule, differs):
    service = "alone" if client == "http1" else "h2"
    if client == "http2":  # its route is a GRPCRoute: no method is called so
        rule, differs = "", "answer"
    r, counted, shadow, line = ask(mesh, client, service, target)
    assert (r.status, r.seen["pod"], r.seen["target"]) == (200, "a", target)
    assert "route" not in line and line["backend"] == f"shop/{service}:80"
    assert counted[1:] == (rule, "differs") and shadow["shadow_differs"] == differs
    assert ("shadow_route" in shadow) == bool(rule)


def test_of_grpc_calls(mesh):
    r, counted, shadow, line = ask(mesh, "http2", "h2", "/pkg.Echo/Say", method="POST", headers=GRPC)
    assert (r.status, r.seen["pod"]) == (200, "a")
    assert counted == ("GRPCRoute/shop/h2-next", "0", "differs")
    assert shadow == {"shadow_route": "GRPCRoute/shop/h2-next", "shadow_rule": "0", "shadow_differs": "backends"}


def test_what_is_not_http_passes(mesh):
    addr = mesh.addr("bytes")

    def run():
        with rawhttp.Conn(addr) as c:
            c.send(b"\x16\x03\x01 no HTTP\n")
            return c.read_exact(len(b"\x16\x03\x01 no HTTP\n"))
    assert mesh.client.call(run) == b"\x16\x03\x01 no HTTP\n"
    assert counts(mesh, "bytes") == {}


def test_conditions_and_sluicectl(mesh):
    routes = {r["name"]: r for r in mesh.ctl("routes")["routes"]}
    found = {name: {c["type"]: (c["status"], c["reason"]) for c in routes[name]["parents"][0]["conditions"]}
             for name in routes}
    assert found["both-next"]["Accepted"] == ("True", "Accepted")
    assert found["both-next"]["sluice.dev/Shadow"] == ("True", "NotEnforced")
    assert "sluice.dev/Shadow" not in found["both-now"] and "shadow" not in routes["both-now"]
    assert found["tcp-next"]["Accepted"] == ("False", "UnsupportedValue")
    ask(mesh, "http1", "both", "/new")
    shadow = {r["name"]: r for r in mesh.ctl("routes")["routes"]}["both-next"]["shadow"]
    assert 1 <= shadow["differs"] <= shadow["matched"] <= shadow["evaluated"]
    ports = {s["name"]: s["ports"][0] for s in mesh.ctl("services")["services"]}
    assert (ports["bytes"]["routed"], ports["bytes"]["failure_policy"]) == (False, "open")
    text = mesh.ctl_run("explain", "http://both.shop/new/x", output=None).stdout
    assert "if its shadow routes were enforced, these would differ: backends, path, timeouts" in text
    text = mesh.ctl_run("explain", "http://both.shop/chaos", output=None).stdout
    assert "these would differ: faults" in text and "FaultInjection/shop/chaos: 0 of 0" not in text
    explained = json.loads(mesh.ctl_run("explain", "http://both.shop/new/x").stdout)
    assert (explained["rule"]["route"], explained["result"]["path"]) == ("HTTPRoute/shop/both-now", "/new/x")
    assert explained["shadow"]["rule"]["route"] == "HTTPRoute/shop/both-next"
    assert explained["shadow"]["result"]["path"] == "/old/x"
    explained = json.loads(mesh.ctl_run("explain", "http://alone.shop/zzz").stdout)
    assert explained["result"]["kind"] == "pass_through"
    assert (explained["shadow"]["differs"], explained["shadow"]["result"]["status"]) == (["answer"], 404)


def test_marking_a_route_takes_it_out_of_force_and_back(mesh):
    rules = [m.rule(m.path("/x"), "b")]
    mesh.route("marked", rules)
    mesh.wait_answer(lambda r: r.status == 404, "the route to be enforced", target="/y")
    assert mesh.fetch("/x").seen["pod"] == "b"
    mesh.route("marked", rules, annotations=SHADOW)
    mesh.wait_answer(lambda r: r.status == 200, "nothing to be enforced", target="/y")
    assert {mesh.fetch("/x").seen["pod"] for _ in range(12)} == {"a", "b", "c"}
    mesh.route("marked", rules, annotations={"sluice.dev/shadow": "false"})
    mesh.wait_answer(lambda r: r.status == 404, "the route to be enforced again", target="/y")
    assert mesh.fetch("/x").seen["pod"] == "b"
