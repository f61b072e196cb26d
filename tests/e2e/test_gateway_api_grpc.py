# SPDX-License-Identifier: Apache-2.0
"""GRPCRoute as configuration: what is attached where, what explain and the conditions say of it."""
import json

import pytest

from harness import manifests as m


def method(service=None, name=None, kind=None):
    return {"method": {k: v for k, v in (("type", kind), ("service", service), ("method", name)) if v}}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    ports = [m.port(9000, 9000, "grpc", "kubernetes.io/h2c"), m.port(80), m.port(443, 8443, "tls", "https")]
    w.add_service("greeter", [w.a, w.b], ports)
    w.grpc_route("greet", [
        m.rule(backends=m.backend("a"), name="all"),
        m.rule(method("pkg.Greeter"), m.backend("b"), name="service"),
        m.rule(method("pkg.Greeter", "SayHello"), [m.backend("a", weight=3), m.backend("nobody")],
               m.request_headers(set={"x": "1"}), name="exact"),
        m.rule({**method("pkg.Greeter", "SayHello"), **m.headers(("stage", "beta"))}, name="beta"),
        m.rule(method("other[.].*", kind="RegularExpression"), m.backend("b"), name="pattern"),
    ], [m.parent("greeter", port=9000)])
    w.grpc_route("strict", [m.rule(method("pkg.Strict"), "a")], [m.parent("greeter", port=80)])
    w.route("web", [m.rule(backends="a")], ["greeter"])
    w.route("lost", [m.rule(backends="a")], [m.parent("greeter", port=80)])
    w.grpc_route("tls", [m.rule(backends="a")], [m.parent("greeter", port=443)])
    w.start()
    return w


def conditions(world, kind, name):
    for r in world.ctl("routes")["routes"]:
        if (r["kind"], r["name"]) == (kind, name):
            return {c["type"]: (c["status"], c["reason"]) for c in r["parents"][0]["conditions"]}
    return {}


@pytest.mark.parametrize("kind, name, expected", [
    ("GRPCRoute", "greet", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}),
    ("GRPCRoute", "strict", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
    ("GRPCRoute", "tls", {"Accepted": ("False", "UnsupportedValue"), "ResolvedRefs": ("True", "ResolvedRefs")}),
    ("HTTPRoute", "web", {"Accepted": ("False", "Conflicted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
    ("HTTPRoute", "lost", {"Accepted": ("False", "Conflicted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
])
def test_conditions(mesh, kind, name, expected):
    assert conditions(mesh, kind, name) == expected


@pytest.mark.parametrize("argv, rule, result", [
    (("/pkg.Greeter/SayHello",), "exact", {"kind": "backends", "path": "/pkg.Greeter/SayHello"}),
    (("/pkg.Greeter/SayHello", "-H", "stage: beta"), "beta", {"kind": "answer", "status": 500,
                                                              "grpc_status": "UNAVAILABLE"}),
    (("/pkg.Greeter/SayHelloAgain",), "service", {"kind": "backends"}),
    (("/other.Thing/Do",), "pattern", {"kind": "backends"}),
    (("/pkg.Else/Do",), "all", {"kind": "backends"}),
])
def test_explain(mesh, argv, rule, result):
    path, *more = argv
    x = json.loads(mesh.ctl_run("explain", "POST", f"http://greeter.shop:9000{path}", *more).stdout)
    assert x["rule"]["name"] == rule and x["rule"]["route"] == "GRPCRoute/shop/greet"
    assert {k: x["result"].get(k) for k in result} == result
    assert x["rules"][0]["match"] == "Exact pkg.Greeter/SayHello, header stage = beta"


def test_what_no_rule_takes_is_unimplemented(mesh):
    x = json.loads(mesh.ctl_run("explain", "POST", "http://greeter.shop/pkg.Other/Do").stdout)
    assert (x["result"]["status"], x["result"]["grpc_status"]) == (404, "UNIMPLEMENTED")
    text = mesh.ctl_run("explain", "POST", "http://greeter.shop/pkg.Other/Do", output=None).stdout
    assert "answered with 404, gRPC UNIMPLEMENTED" in text
    assert "Exact pkg.Strict/*" in text


def test_routes_and_services_show_it(mesh):
    routes = {(r["kind"], r["name"]): r for r in mesh.ctl("routes")["routes"]}
    rules = {r["name"]: r for r in routes["GRPCRoute", "greet"]["rules"]}
    assert rules["all"]["matches"] == ["any method"]
    assert rules["service"]["matches"] == ["Exact pkg.Greeter/*"]
    assert rules["beta"]["matches"] == ["Exact pkg.Greeter/SayHello, header stage = beta"]
    assert rules["pattern"]["matches"] == ["RegularExpression other[.].*/*"]
    service = next(s for s in mesh.ctl("services")["services"] if s["name"] == "greeter")
    ports = {p["port"]: p for p in service["ports"]}
    assert (ports[9000]["routed"], ports[9000]["routes"]) == (True, ["GRPCRoute/shop/greet"])
    assert ports[80]["routes"] == ["GRPCRoute/shop/strict"], "the conflicting HTTPRoutes are not in force"
    assert not ports[443]["routed"]


def test_validate_says_the_same(mesh):
    text = mesh.ctl_run("validate", mesh.config, output=None, check=False).stdout
    assert "Accepted is False: HTTPRoute shop/web, parent Service shop/greeter: Conflicted: Routes of a kind that " \
           "takes precedence are attached to port" in text, text
