# SPDX-License-Identifier: Apache-2.0
"""The cases of the Gateway API's conformance tests for backends, parents and status, with Services as
parents. All of them hold in one configuration; test_gateway_api_changes.py has those that need their own."""
import pytest

from harness import manifests as m

PORTS = [m.port(80, 8080, "http"), m.port(8080, 8080, "http-alt")]


def plain_service(name, ports, ns="shop", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
            "spec": {"ports": ports, **spec}}


def manual_slice(name, pods, family, ports=None):
    """As httproute-service-types has it: all three conditions, node, a reference to the pod."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-ip{family}", "namespace": "shop",
                         "labels": {"kubernetes.io/service-name": name}},
            "addressType": f"IPv{family}",
            "ports": ports or [{"name": "first-port", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [p.v4 if family == 4 else p.v6],
                           "conditions": {"ready": True, "serving": True, "terminating": False},
                           "nodeName": "node-1", "targetRef": {"kind": "Pod", "name": p.name,
                                                               "namespace": p.namespace, "uid": p.uid}}
                          for p in pods]}


FIRST = [{"name": "first-port", "protocol": "TCP", "port": 8080, "targetPort": 8080}]

# Route name: rules, parents, and the conditions of its one parent.
ACCEPTED, RESOLVED = ("True", "Accepted"), ("True", "ResolvedRefs")
STATUS = {
    "nonexistent": ([m.rule(backends=m.backend("nonexistent", 8080, ns="shop"))], "s-nonexistent",
                    {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound")}),
    "unknown-kind": ([m.rule(backends=m.backend("a", 8080, group="unknownkind.example.com", kind="NonExistent"))],
                     "s-unknown-kind", {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "InvalidKind")}),
    "core-kind": ([m.rule(backends=m.backend("a", 8080, group="core", kind="Service"))], "s-core-kind",
                  {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "InvalidKind")}),
    "unknown-port": ([m.rule(backends=m.backend("a", 8081))], "s-unknown-port",
                     {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound")}),
    "section-name": ([m.rule(backends="a")], m.parent("web", ns="shop", port=80, section="http1"),
                     {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": RESOLVED}),
    "section-of-another-port": ([m.rule(backends="a")], m.parent("multi", port=80, section="http-alt"),
                                {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": RESOLVED}),
    "port": ([m.rule(backends="a")], m.parent("web", ns="shop", port=81),
             {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": RESOLVED}),
    "target-port": ([m.rule(backends="a")], m.parent("web", port=8080),
                    {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": RESOLVED}),
    "no-such-parent": ([m.rule(backends="nonexistent")], m.parent("web", ns="nowhere"),
                       {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": ("False", "BackendNotFound")}),
    "headless-parent": ([m.rule(backends="a")], "headless",
                        {"Accepted": ("False", "UnsupportedValue"), "ResolvedRefs": RESOLVED}),
    "external-parent": ([m.rule(backends="a")], "external",
                        {"Accepted": ("False", "UnsupportedValue"), "ResolvedRefs": RESOLVED}),
    "half-resolved": ([m.rule(m.path("/good"), "a"), m.rule(m.path("/bad"), ["a", "nonexistent"])], "s-half-resolved",
                      {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound"), "PartiallyInvalid": None}),
    "weight-zero": ([m.rule(backends=[m.backend("a"), m.backend("nonexistent", weight=0)])], "s-weight-zero",
                    {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound")}),
    "external-backend": ([m.rule(backends="external")], "s-external-backend",
                         {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "InvalidKind")}),
    "h2c-backend": ([m.rule(backends="h2c")], "s-h2c-backend",
                    {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}),
    "vendor-backend": ([m.rule(backends="vendor")], "s-vendor-backend",
                       {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "UnsupportedProtocol")}),
    "word-backend": ([m.rule(backends="word")], "s-word-backend", {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}),
    "ws-backend": ([m.rule(backends="ws")], "s-ws-backend", {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}),
    "dropped": ([m.rule(m.path("/odd"), "a", m.cors(maxAge=0)), m.rule(m.path("/kept"), "b")], "s-dropped",
        {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED, "PartiallyInvalid": ("True", "UnsupportedValue")}),
    "all-dropped": ([m.rule(m.exact("/p"), "a", m.rewrite(prefix="/y"))], "s-all-dropped",
                    {"Accepted": ("False", "UnsupportedValue"), "PartiallyInvalid": None}),
    "extension": ([m.rule(m.path("/ext"), "a", {"type": "ExtensionRef", "extensionRef": {
        "group": "example.com", "kind": "Auth", "name": "x"}}), m.rule(m.path("/"), "b")], "s-extension",
        {"Accepted": ACCEPTED, "PartiallyInvalid": None}),
}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("multi", [w.c], PORTS)
    w.write("types.yaml", [
        plain_service("manual-endpointslices", FIRST, clusterIP="10.96.7.1"),
        manual_slice("manual-endpointslices", [w.a, w.b], 4), manual_slice("manual-endpointslices", [w.a, w.b], 6),
        plain_service("headless", FIRST, clusterIP="None", selector={"app": "v1"}),
        manual_slice("headless", [w.b], 4),
        plain_service("headless-manual-endpointslices", FIRST, clusterIP="None"),
        manual_slice("headless-manual-endpointslices", [w.c], 4),
        manual_slice("headless-manual-endpointslices", [w.c], 6),
        plain_service("external", [m.port()], type="ExternalName", externalName="example.com"),
        plain_service("node-port", [{**m.port(80, 8080), "nodePort": 30080}], type="NodePort", clusterIP="10.96.7.2"),
        m.endpoint_slice("node-port", [w.a]),
        plain_service("balanced", [{**m.port(80, 8080), "nodePort": 30081}], type="LoadBalancer",
                      clusterIP="10.96.7.3", externalTrafficPolicy="Cluster"),
        m.endpoint_slice("balanced", [w.b]),
        # targetPort by name: the pods have other ports, only the slices know which.
        plain_service("named", [{"name": "web", "port": 80, "targetPort": "listen"},
                                {"name": "raw", "port": 81, "targetPort": 9000}], clusterIP="10.96.7.4"),
        manual_slice("named", [w.c], 4, [{"name": "raw", "port": 9000}, {"name": "web", "port": 8080}]),
        # What is not a ready TCP endpoint of that port name is none.
        plain_service("nobody", [m.port(80, 8080)], clusterIP="10.96.7.5"),
        manual_slice("nobody", [w.a], 4, [{"name": "other", "port": 8080}]),
    ])
    w.route("types", [m.rule(m.exact(f"/{s}"), m.backend(s, 8080))
                      for s in ("manual-endpointslices", "headless", "headless-manual-endpointslices")] +
            [m.rule(m.exact(f"/{s}"), s) for s in ("node-port", "balanced", "named", "nobody")])
    for name, protocol in (("h2c", "kubernetes.io/h2c"), ("vendor", "example.com/quic"), ("word", "grpc-web"),
                           ("ws", "kubernetes.io/ws")):
        w.add_service(name, [w.a], [m.port(80, 9100 if name == "h2c" else 8080, app_protocol=protocol)])
    for name, (rules, parent, _) in STATUS.items():
        if isinstance(parent, str) and parent.startswith("s-"):
            w.add_service(parent, [w.c])
        w.route(name, rules, [parent])
    w.add_service("omitted", [w.c])
    w.route("omitted", [m.rule(m.exact("/omitted-no-forward")), m.rule(m.exact("/empty-no-forward"), []),
                        m.rule(m.path("/"), "a")], ["omitted"])
    w.add_service("names", [w.c])
    w.route("names", [m.rule(m.path("/named"), "a", name="named-rule"), m.rule(m.path("/unnamed"), "b"),
                      m.rule(m.path("/same"), "c", name="named-rule")], ["names"])
    w.add_service("timeouts", [w.c])
    w.route("timeouts", [m.rule(m.path("/request-timeout"), "a", timeouts={"request": "500ms"}),
                         m.rule(m.path("/disable-request-timeout"), "a", timeouts={"request": "0s"}),
                         m.rule(m.path("/backend-timeout"), "a", timeouts={"backendRequest": "500ms"}),
                         m.rule(m.path("/disable-backend-timeout"), "a", timeouts={"backendRequest": "0s"}),
                         m.rule(m.path("/parts"), "a", timeouts={"request": "0h0m0s500ms",
                                                                 "backendRequest": "250ms250ms"}),
                         m.rule(m.path("/zero-request"), "a", timeouts={"request": "0ms",
                                                                        "backendRequest": "00500ms"})], ["timeouts"])
    w.add_service("web-backend", [w.b], ns="other")
    w.add_service("cross", [w.c], ns="shop")
    w.route("cross-namespace", [m.rule(backends=m.backend("web-backend"))], [m.parent("cross", ns="shop")],
            ns="other")
    w.start()
    return w


def conditions(mesh, name):
    route = next(r for r in mesh.ctl("routes")["routes"] if r["name"] == name)
    assert len(route["parents"]) == 1
    return {c["type"]: (c["status"], c["reason"]) for c in route["parents"][0]["conditions"]}


@pytest.mark.parametrize("name", STATUS)
def test_conditions(mesh, name):
    expected = STATUS[name][2]
    shown = conditions(mesh, name)
    assert {k: shown.get(k) for k in expected} == expected


@pytest.mark.parametrize("service, target, status", [
    ("s-nonexistent", "/", 500), ("s-unknown-kind", "/v2", 500), ("s-core-kind", "/", 500),
    ("s-unknown-port", "/", 500),
    ("s-external-backend", "/", 500), ("s-h2c-backend", "/", 200), ("s-vendor-backend", "/", 500),
    ("s-word-backend", "/", 200), ("s-ws-backend", "/", 200), ("s-weight-zero", "/", 200),
    ("s-half-resolved", "/good", 200),
    # A dropped rule is not there; where all are dropped, nothing passes.
    ("s-dropped", "/kept", 200), ("s-dropped", "/odd", 404), ("s-all-dropped", "/p", 500),
    ("s-all-dropped", "/x", 500),
    # A filter that is not known may not be skipped, nor may its requests fall to a lower rule.
    ("s-extension", "/ext", 500), ("s-extension", "/ext/deeper", 500), ("s-extension", "/other", 200),
    ("omitted", "/forward", 200), ("omitted", "/omitted-no-forward", 500), ("omitted", "/empty-no-forward", 500),
    ("timeouts", "/request-timeout", 200), ("timeouts", "/request-timeout?delay=1000", 504),
    ("timeouts", "/disable-request-timeout?delay=1000", 200),
    ("timeouts", "/backend-timeout", 200), ("timeouts", "/backend-timeout?delay=1000", 504),
    ("timeouts", "/disable-backend-timeout?delay=1000", 200),
    ("timeouts", "/parts?delay=200", 200), ("timeouts", "/parts?delay=1000", 504),
    ("timeouts", "/zero-request?delay=1000", 504),
])
def test_what_is_answered(mesh, service, target, status):
    r = mesh.fetch(target, service)
    assert r.status == status, r
    if status == 200:
        assert r.seen["target"] == target


@pytest.mark.parametrize("target, expected", [
    ("/manual-endpointslices", {"a", "b"}), ("/headless", {"b"}), ("/headless-manual-endpointslices", {"c"}),
    ("/node-port", {"a"}), ("/balanced", {"b"}), ("/named", {"c"}),
])
def test_service_types_as_backends(mesh, target, expected):
    assert set(mesh.pods_of(4, target)) == expected


def test_endpoints_of_another_port_name_are_none(mesh):
    assert mesh.fetch("/nobody").status == 503


@pytest.mark.parametrize("target, pod", [("/named", "a"), ("/named/x", "a"), ("/unnamed", "b")])
def test_named_rule(mesh, target, pod):
    assert mesh.fetch(target, "names").seen["pod"] == pod


def test_the_second_rule_of_one_name_is_dropped_and_reported(mesh):
    """Stored objects may have it, since the rule is younger than the field."""
    assert mesh.fetch("/same", "names").status == 404
    assert conditions(mesh, "names")["PartiallyInvalid"] == ("True", "UnsupportedValue")


def test_cross_namespace(mesh):
    """The route, its backend and its clients live in one namespace, the parent in another."""
    r = mesh.fetch(service="cross", pod=mesh.alien)
    assert (r.status, r.seen["pod"]) == (200, "b")
    assert mesh.fetch(service="cross").seen["pod"] == "c", "other namespaces are not affected"
    assert conditions(mesh, "cross-namespace") == {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}


def test_the_parent_ref_is_repeated_as_it_was_written(mesh):
    routes = {r["name"]: r for r in mesh.ctl("routes")["routes"]}
    assert routes["section-name"]["parents"][0]["parentRef"] == {
        "group": "", "kind": "Service", "name": "web", "namespace": "shop", "port": 80, "sectionName": "http1"}
    assert routes["nonexistent"]["parents"][0]["parentRef"] == {"group": "", "kind": "Service", "name": "s-nonexistent"}
