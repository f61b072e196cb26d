# SPDX-License-Identifier: Apache-2.0
"""The cases of the Gateway API's conformance tests for matching, with Services as parents: each test has
a Service of its own and routes with the same matches. The backends v1, v2 and v3 are the pods a, b, c."""
import pytest

from harness import manifests as m

V1, V2, V3 = "a", "b", "c"


def method(name, *matches):
    match = {"method": name}
    for part in matches:
        match.update(part)
    return match


def both(*matches):
    match = {}
    for part in matches:
        match.update(part)
    return match


def version(value):
    return m.headers(("version", value))


def animal(value):
    return m.queries(("animal", value))


# Service: the routes attached to it, each a list of rules.
ROUTES = {
    "matching": [[
        m.rule([m.path("/"), version("one")], V1),
        m.rule([m.path("/v2"), version("two")], V2),
    ]],
    "across": [[
        m.rule([m.path("/"), version("one")], V1),
    ], [
        m.rule([m.path("/v2"), version("two")], V2),
    ]],
    "exact": [[
        m.rule(m.exact("/one"), V1),
        m.rule(m.exact("/two"), V2),
    ]],
    "order": [[
        m.rule(m.exact("/match"), V1),
        m.rule(m.exact("/match/exact"), V2),
        m.rule(m.exact("/match/exact/one"), V3),
        m.rule(m.path("/match/"), V3),
        m.rule(m.path("/match/prefix/"), V1),
        m.rule(m.path("/match/prefix/one"), V2),
    ]],
    "headers": [[
        m.rule(version("one"), V1),
        m.rule(version("two"), V2),
        m.rule(m.headers(("version", "two"), ("color", "orange")), V1),
        m.rule([m.headers(("color", "blue")), m.headers(("color", "green"))], V1),
        m.rule([m.headers(("color", "red")), m.headers(("color", "yellow"))], V2),
    ]],
    "methods": [[
        m.rule(method("POST"), V1),
        m.rule(method("GET"), V2),
        m.rule(method("GET", m.path("/path1")), V1),
        m.rule(method("PUT", version("one")), V2),
        m.rule(method("POST", m.path("/path2"), version("two")), V3),
        m.rule([method("PATCH", m.path("/path3")), method("DELETE", m.path("/path4"), version("three"))], V1),
        m.rule(m.path("/path5"), V1),
        m.rule(method("PATCH"), V2),
        m.rule(version("four"), V3),
    ]],
    "queries": [[
        m.rule(animal("whale"), V1),
        m.rule(animal("dolphin"), V2),
        m.rule([m.queries(("animal", "dolphin"), ("color", "blue")), m.queries(("ANIMAL", "Whale"))], V3),
        m.rule(both(m.path("/path1"), animal("whale")), V1),
        m.rule(both(version("one"), animal("whale")), V2),
        m.rule(both(m.path("/path2"), version("two"), animal("whale")), V3),
        m.rule([both(m.path("/path3"), animal("shark")),
                both(m.path("/path4"), version("three"), animal("kraken"))], V1),
        m.rule(m.path("/path5"), V1),
        m.rule(animal("hydra"), V2),
        m.rule(version("four"), V3),
    ]],
    # Equal but for the order of what is ANDed, and a first rule that cannot be served.
    "rule-order": [[
        m.rule(both(m.path("/headers"), m.headers(("x-one", "1"), ("x-two", "2"))), V1),
        m.rule(both(m.path("/headers"), m.headers(("x-two", "2"), ("x-one", "1"))), V2),
        m.rule(both(m.path("/queries"), m.queries(("one", "1"), ("two", "2"))), V3),
        m.rule(both(m.path("/queries"), m.queries(("two", "2"), ("one", "1"))), V2),
        m.rule(both(m.path("/missing"), version("one")), "does-not-exist"),
        m.rule(both(m.path("/missing"), version("one")), V1),
        m.rule(m.path("/trailing/"), V2),
        m.rule(m.path("/trailing"), V1),
    ]],
    # The longest prefix of another route, a header of a third, an equal match of a younger one.
    "precedence": [[
        m.rule(m.path("/store"), V1),
        m.rule(both(m.path("/store"), m.headers(("x-a", "1"))), V1),
        m.rule(both(m.path("/store"), m.headers(("x-dup", "1"), ("X-Dup", "1"), ("x-b", "1"))), V1),
    ], [
        m.rule(m.path("/store/cart"), V2),
        m.rule(both(m.path("/store"), m.headers(("x-a", "1"), ("x-b", "1"), ("x-c", "1"))), V2),
        m.rule(m.path("/store"), V2),
    ], [
        m.rule(both(m.path("/store"), m.queries(("q", "1"))), V3),
        m.rule(m.exact("/store/cart"), V3),
        m.rule(both(m.path("/store"), m.headers(("x-b", "1"), ("x-dup", "1")), animal("cat")), V3),
        m.rule(method("GET", m.path("/store/method")), V3),
    ], [
        m.rule(both(m.path("/store/method"), m.headers(("x-a", "1"), ("x-b", "1")), animal("cat")), V1),
    ]],
}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for service, routes in ROUTES.items():
        w.add_service(service, [w.a, w.b, w.c])
        for i, rules in enumerate(routes, 1):
            w.route(f"{service}-part{i}", rules, [service], created=f"2026-01-0{i}T00:00:00Z")
    w.start()
    return w


def case(target, pod, method="GET", host="echo", **headers):
    """Headers by keyword, "_" for "-"."""
    sent = [(k.replace("_", "-"), v) for k, v in headers.items()]
    text = " ".join([method, target, *(f"{n}={v}" for n, v in sent)]) + (f" ({host})" if host != "echo" else "")
    return pytest.param({"target": target, "method": method, "host": host, "headers": sent}, pod, id=text)


def check(mesh, service, request_, pod):
    r = mesh.fetch(service=service, **request_)
    if isinstance(pod, int):
        assert r.status == pod, r
        return
    assert r.status == 200, r
    if request_["method"] == "HEAD":
        assert r.get("X-Pod") == pod
        return
    seen = r.seen
    assert (seen["pod"], seen["method"], seen["target"]) == (pod, request_["method"], request_["target"])
    assert seen.all("host") == [request_["host"]]
    assert [(n, seen.get_header(n)) for n, _ in request_["headers"]] == request_["headers"]


MATCHING = [
    case("/", V1), case("/example", V1), case("/", V1, Version="one"), case("/v2", V2), case("/v2/example", V2),
    case("/", V2, Version="two"), case("/v2/", V2), case("/v2example", V1), case("/foo/v2/example", V1),
]


@pytest.mark.parametrize("request_, pod", MATCHING)
def test_matching(mesh, request_, pod):
    check(mesh, "matching", request_, pod)


@pytest.mark.parametrize("request_, pod", MATCHING + [
    case("/", V1, host="example.com"), case("/example", V1, host="example.net"),
    case("/example", V1, host="example.com", Version="one"), case("/v2", V2, host="example.com"),
    case("/v2/example", V2, host="example.com"), case("/", V2, host="example.com", Version="two"),
])
def test_matching_across_routes(mesh, request_, pod):
    check(mesh, "across", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/one", V1), case("/two", V2), case("/", 404), case("/one/example", 404), case("/two/", 404),
    case("/Two", 404),
])
def test_exact_path_matching(mesh, request_, pod):
    check(mesh, "exact", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/match/exact/one", V3), case("/match/exact", V2), case("/match", V1), case("/match/prefix/one/any", V2),
    case("/match/prefix/any", V1), case("/match/any", V3),
    case("/match/", V3), case("/match/prefix", V1), case("/match/prefix/one", V2), case("/matching", 404),
])
def test_path_match_order(mesh, request_, pod):
    check(mesh, "order", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/", V1, Version="one"), case("/", V2, Version="two"), case("/", V1, Version="two", Color="orange"),
    case("/", V2, Version="two", Color="blue"), case("/", 404, Color="orange"), case("/", 404, Some_Other_Header="one"),
    case("/", V1, Color="blue"), case("/", V1, Color="green"), case("/", V2, Color="red"),
    case("/", V2, Color="yellow"), case("/", 404, Color="purple"),
])
def test_header_matching(mesh, request_, pod):
    check(mesh, "headers", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/", V1, "POST"), case("/", V2, "GET"), case("/", 404, "HEAD"),
    case("/path1", V1, "GET"), case("/", V2, "PUT", version="one"), case("/path2", V3, "POST", version="two"),
    case("/path3", V1, "PATCH"), case("/path4", V1, "DELETE", version="three"),
    case("/", 404, "PUT"), case("/path4", 404, "DELETE"),
    case("/path5", V1, "PATCH"), case("/", V2, "PATCH", version="four"),
    case("/", V3, "HEAD", version="four"), case("/path5", V1, "HEAD"), case("/", 404, "get"),
])
def test_method_matching(mesh, request_, pod):
    check(mesh, "methods", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/?animal=whale", V1), case("/?animal=dolphin", V2), case("/?animal=dolphin&color=blue", V3),
    case("/?ANIMAL=Whale", V3), case("/?animal=whale&otherparam=irrelevant", V1),
    case("/?animal=dolphin&color=yellow", V2), case("/?color=blue", 404), case("/?animal=dog", 404),
    case("/?animal=whaledolphin", 404), case("/", 404),
    case("/path1?animal=whale", V1), case("/?animal=whale", V2, version="one"),
    case("/path2?animal=whale", V3, version="two"),
    case("/path3?animal=shark", V1), case("/path4?animal=kraken", V1, version="three"),
    case("/?animal=shark", 404), case("/path4?animal=kraken", 404),
    case("/path5?animal=hydra", V1), case("/?animal=hydra", V3, version="four"),
    case("/?color=blue&animal=dolphin", V3), case("/?animal=w%68ale", V1), case("/?%61nimal=whale", V1),
])
def test_query_param_matching(mesh, request_, pod):
    check(mesh, "queries", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/headers", V1, x_one="1", x_two="2"), case("/headers", V1, x_two="2", x_one="1"),
    case("/queries?one=1&two=2", V3), case("/queries?two=2&one=1", V3),
    case("/missing", 500, version="one"), case("/missing", 404),
    case("/trailing", V2), case("/trailing/x", V2),
])
def test_rule_order(mesh, request_, pod):
    check(mesh, "rule-order", request_, pod)


@pytest.mark.parametrize("request_, pod", [
    case("/store", V1), case("/store/x", V1), case("/store/cart/x", V2), case("/store/cart", V3),
    case("/store", V1, x_a="1"), case("/store?q=1", V3), case("/store?q=1", V1, x_a="1"),
    case("/store", V2, x_a="1", x_b="1", x_c="1"),
    # Two headers each, as a repeated name counts once: the query decides.
    case("/store?animal=cat", V3, x_b="1", x_dup="1"), case("/store?animal=dog", V1, x_b="1", x_dup="1"),
    case("/store/cart", V3, x_a="1", x_b="1", x_c="1"),
    case("/store/method?animal=cat", V3), case("/store/method?animal=cat", V3, x_a="1", x_b="1", x_c="1"),
    case("/store/method?animal=cat", V1, "POST", x_a="1", x_b="1"),
])
def test_precedence_across_routes(mesh, request_, pod):
    check(mesh, "precedence", request_, pod)
