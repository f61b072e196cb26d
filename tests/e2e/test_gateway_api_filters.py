# SPDX-License-Identifier: Apache-2.0
"""The cases of the Gateway API's conformance tests for filters, with Services as parents. What the mesh
tests of the API leave out is compared here: Location whole, path, Host and query as the backend saw them."""
import pytest

from harness import manifests as m, rawhttp

PORTS = [m.port(80, 8080, "http"), m.port(8080, 8080, "http-alt"), m.port(443, 8080, "https")]

HEADER_FILTERS = {
    "/set": {"set": {"X-Header-Set": "set-overwrites-values"}},
    "/add": {"add": {"X-Header-Add": "add-appends-values"}},
    "/remove": {"remove": ["X-Header-Remove"]},
    "/multiple": {"set": {"X-Header-Set-1": "header-set-1", "X-Header-Set-2": "header-set-2"},
                  "add": {"X-Header-Add-1": "header-add-1", "X-Header-Add-2": "header-add-2",
                          "X-Header-Add-3": "header-add-3"},
                  "remove": ["X-Header-Remove-1", "X-Header-Remove-2"]},
    "/case-insensitivity": {"set": {"X-Header-Set": "header-set"},
                            "add": {"X-Header-Add": "header-add", "x-lowercase-add": "lowercase-add",
                                    "x-Mixedcase-ADD-1": "mixedcase-add-1", "X-mixeDcase-add-2": "mixedcase-add-2",
                                    "X-UPPERCASE-ADD": "uppercase-add"},
                            "remove": ["X-Header-Remove"]},
}
OTHER = {"Some-Other-Header": "val"}
ANOTHER = {"Another-Header": "another-header-val"}

# Path, what is there before, what is there behind the filter (None: nothing).
HEADER_CASES = [
    ("/set", OTHER, {**OTHER, "X-Header-Set": "set-overwrites-values"}),
    ("/set", {**OTHER, "X-Header-Set": "some-other-value"}, {**OTHER, "X-Header-Set": "set-overwrites-values"}),
    ("/add", OTHER, {**OTHER, "X-Header-Add": "add-appends-values"}),
    ("/add", {**OTHER, "X-Header-Add": "some-other-value"},
     {**OTHER, "X-Header-Add": "some-other-value,add-appends-values"}),
    ("/remove", {"X-Header-Remove": "val"}, {"X-Header-Remove": None}),
    ("/multiple", {"X-Header-Set-2": "set-val-2", "X-Header-Add-2": "add-val-2", "X-Header-Remove-2": "remove-val-2",
                   "X-Header-Remove-1": "val", **ANOTHER},
     {"X-Header-Set-1": "header-set-1", "X-Header-Set-2": "header-set-2", "X-Header-Add-1": "header-add-1",
      "X-Header-Add-2": "add-val-2,header-add-2", "X-Header-Add-3": "header-add-3", "X-Header-Remove-1": None,
      "X-Header-Remove-2": None, **ANOTHER}),
    ("/case-insensitivity", {"x-header-set": "original-val-set", "x-header-add": "original-val-add",
                             "x-header-remove": "original-val-remove", **ANOTHER},
     {"X-Header-Set": "header-set", "X-Header-Add": "original-val-add,header-add", "X-Lowercase-Add": "lowercase-add",
      "X-Mixedcase-Add-1": "mixedcase-add-1", "X-Mixedcase-Add-2": "mixedcase-add-2",
      "X-Uppercase-Add": "uppercase-add", "X-Header-Remove": None, **ANOTHER}),
]
TOGETHER = m.request_headers(set={"X-Header-Set": "set-overwrites-values"},
                             add={"X-Header-Add": "header-val-1", "X-Header-Add-Append": "header-val-2"},
                             remove=["X-Header-Remove"])
TOGETHER_SENT = [("X-Header-Remove", "remove-val"), ("X-Header-Add-Append", "append-val-1"),
                 ("X-Header-Set", "set-val")]
TOGETHER_SEEN = {"X-Header-Add": "header-val-1", "X-Header-Add-Append": "append-val-1,header-val-2",
                 "X-Header-Set": "set-overwrites-values", "X-Header-Remove": None}

REDIRECTS = [
    m.rule(m.path("/hostname-redirect"), filters=m.redirect(hostname="example.org")),
    m.rule(m.path("/host-and-status"), filters=m.redirect(statusCode=301, hostname="example.org")),
    m.rule(m.path("/see-other"), filters=m.redirect(statusCode=303)),
    m.rule(m.path("/temporary"), filters=m.redirect(statusCode=307)),
    m.rule(m.path("/permanent"), filters=m.redirect(statusCode=308)),
]
PATH_REDIRECTS = [
    m.rule(m.path("/original-prefix"), filters=m.redirect(prefix="/replacement-prefix")),
    m.rule(m.path("/full"), filters=m.redirect(full="/full-path-replacement")),
    m.rule(m.path("/path-and-host"), filters=m.redirect(prefix="/replacement-prefix", hostname="example.org")),
    m.rule(m.path("/path-and-status"), filters=m.redirect(prefix="/replacement-prefix", statusCode=301)),
    m.rule(m.path("/full-path-and-host"), filters=m.redirect(full="/replacement-full", hostname="example.org")),
    m.rule(m.path("/full-path-and-status"), filters=m.redirect(full="/replacement-full", statusCode=301)),
    m.rule(m.path("/empty-prefix"), filters=m.redirect(prefix="")),
]
PORT_REDIRECTS = [
    m.rule(m.path("/port"), filters=m.redirect(port=8083)),
    m.rule(m.path("/port-and-host"), filters=m.redirect(port=8083, hostname="example.org")),
    m.rule(m.path("/port-and-status"), filters=m.redirect(port=8083, statusCode=301)),
    m.rule(m.path("/port-and-host-and-status"),
           filters=m.redirect(port=8083, statusCode=302, hostname="example.org")),
    m.rule(m.path("/scheme"), filters=m.redirect(scheme="https")),
    m.rule(m.path("/scheme-and-host"), filters=m.redirect(scheme="https", hostname="example.org")),
    m.rule(m.path("/scheme-and-status"), filters=m.redirect(scheme="https", statusCode=301)),
    m.rule(m.path("/scheme-and-host-and-status"),
           filters=m.redirect(scheme="https", statusCode=302, hostname="example.org")),
]
# scheme and port of the filter by path; "nil" is not set.
PORT_AND_SCHEME = [(scheme, port) for scheme in (None, "http", "https") for port in (None, 80, 443, 8080, 8443)]


def port_and_scheme(scheme, port):
    fields = {k: v for k, v in (("scheme", scheme), ("port", port)) if v}
    return m.rule(m.path(f"/scheme-{scheme or 'nil'}-and-port-{port or 'nil'}"),
                  filters=m.redirect(hostname="example.org", **fields))


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("multi", [w.a], PORTS)
    w.add_service("requests", [w.a])
    w.route("requests", [m.rule(m.path(p), "a", m.request_headers(**f)) for p, f in HEADER_FILTERS.items()],
            ["requests"])
    w.add_service("requests-backend", [w.a])
    w.route("requests-backend", [m.rule(m.path(p), m.backend("a", filters=m.request_headers(**f)))
                                 for p, f in HEADER_FILTERS.items()], ["requests-backend"])
    w.add_service("responses", [w.a])
    w.route("responses", [m.rule(m.path(p), "a", m.response_headers(**f)) for p, f in HEADER_FILTERS.items()] + [
        m.rule(m.path("/response-and-request-header-modifiers"), "a", [
            m.response_headers(set={"X-Header-Set-1": "header-set-1", "X-Header-Set-2": "header-set-2"},
                               add={"X-Header-Add-1": "header-add-1", "X-Header-Add-2": "header-add-2"},
                               remove=["X-Header-Remove-1", "X-Header-Remove-2"]), TOGETHER])], ["responses"])
    w.route("redirects", REDIRECTS, ["multi"])
    w.route("path-redirects", PATH_REDIRECTS, ["multi"])
    w.route("port-redirects", PORT_REDIRECTS, ["multi"])
    w.route("port-and-scheme", [port_and_scheme(*c) for c in PORT_AND_SCHEME], ["multi"])
    w.add_service("hosts", [w.a])
    w.route("hosts", [
        m.rule(m.path("/one"), "a", m.rewrite(hostname="one.example.org")),
        m.rule(None, "b", m.rewrite(hostname="example.org")),
        m.rule(m.path("/rewrite-host-and-modify-headers"), "b", [m.rewrite(hostname="test.example.org"), TOGETHER]),
    ], ["hosts"], hostnames=["rewrite.example"])
    w.add_service("paths", [w.a])
    w.route("paths", [
        m.rule(m.path("/prefix/one"), "a", m.rewrite(prefix="/one")),
        m.rule(m.path("/strip-prefix"), "a", m.rewrite(prefix="/")),
        m.rule(m.path("/full/one"), "a", m.rewrite(full="/one")),
        m.rule(m.path("/full/rewrite-path-and-modify-headers"), "a", [m.rewrite(full="/test"), TOGETHER]),
        m.rule(m.path("/prefix/rewrite-path-and-modify-headers"), "a", [m.rewrite(prefix="/prefix"), TOGETHER]),
    ], ["paths"])
    w.add_service("backends", [w.a])
    w.route("backends", [
        m.rule(m.path("/full"), m.backend("a", filters=m.rewrite(full="/rewritten-full"))),
        m.rule(m.path("/prefix"), m.backend("a", filters=m.rewrite(prefix="/rewritten-prefix"))),
        m.rule(m.path("/host"), m.backend("a", filters=m.rewrite(hostname="backend.example"))),
        m.rule(m.path("/redirect-full"), m.backend("a", filters=m.redirect(full="/redirected-full"))),
        m.rule(m.path("/redirect-prefix"), m.backend("a", filters=m.redirect(prefix="/redirected-prefix"))),
        m.rule(m.path("/rule-then-backend"), m.backend("a", filters=[
            m.rewrite(hostname="backend.example"), m.request_headers(add={"X-By": "backend"}),
            m.response_headers(set={"X-Answer": "backend"}, add={"X-By": "backend"})]),
            [m.rewrite(hostname="rule.example", full="/by-rule"), m.request_headers(add={"X-By": "rule"}),
             m.response_headers(set={"X-Answer": "rule"}, add={"X-By": "rule"})]),
        m.rule(m.path("/headers-then-redirect"), filters=[
            m.request_headers(set={"X-Unused": "1"}), m.redirect(hostname="example.org"),
            m.response_headers(set={"Cache-Control": "no-store"}, add={"X-By": "rule"})]),
        m.rule(m.path("/redirect-of-a-backend"), m.backend("a", filters=[
            m.redirect(hostname="example.org"), m.response_headers(set={"X-By": "backend"})]),
            m.response_headers(add={"X-By": "rule"})),
    ], ["backends"])
    w.add_service("weights", [w.a])
    w.route("weights", [m.rule(backends=[m.backend(n, weight=10, filters=m.request_headers(set={"Backend": n}))
                                         for n in "ab"])], ["weights"])
    w.start()
    return w


def headers_of(seen, names):
    return {n: seen.get_header(n) for n in names}


@pytest.mark.parametrize("service", ["requests", "requests-backend"])
@pytest.mark.parametrize("target, before, after", HEADER_CASES)
def test_request_header_modifier(mesh, service, target, before, after):
    seen = mesh.fetch(target, service, headers=list(before.items())).seen
    assert (seen["pod"], seen["target"]) == ("a", target)
    assert headers_of(seen, after) == after


@pytest.mark.parametrize("target, before, after", HEADER_CASES)
def test_response_header_modifier(mesh, target, before, after):
    query = "&".join(f"header={n}:%20{v}" for n, v in before.items())
    r = mesh.fetch(f"{target}?{query}", "responses")
    assert r.status == 200
    assert {n: ",".join(r.all(n)) or None for n in after} == after


def test_response_and_request_header_modifiers(mesh):
    answered = {"X-Header-Set-2": "set-val-2", "X-Header-Add-2": "add-val-2", "X-Header-Remove-2": "remove-val-2",
                "X-Header-Remove-1": "remove-val-1", "X-Header-Echo": "echo", **ANOTHER}
    query = "&".join(f"header={n}:{v}" for n, v in answered.items())
    r = mesh.fetch(f"/response-and-request-header-modifiers?{query}", "responses",
                   headers=TOGETHER_SENT + [("X-Header-Echo", "echo")])
    assert headers_of(r.seen, TOGETHER_SEEN) == TOGETHER_SEEN
    assert r.seen.get_header("x-header-echo") == "echo"
    expected = {"X-Header-Set-1": "header-set-1", "X-Header-Set-2": "header-set-2", "X-Header-Add-1": "header-add-1",
                "X-Header-Add-2": "add-val-2,header-add-2", "X-Header-Echo": "echo", "X-Header-Remove-1": None,
                "X-Header-Remove-2": None, **ANOTHER}
    assert {n: ",".join(r.all(n)) or None for n in expected} == expected


def test_headers_of_weighted_backends(mesh):
    """The filter of a backendRef runs for exactly the requests that this backendRef gets."""
    def run():
        with rawhttp.Conn(mesh.addr("weights")) as c:
            return [(s["pod"], s.all("backend")) for s in (c.request().seen for _ in range(100))]
    seen = mesh.client.call(run, timeout=60)
    assert [s for s in seen if s[1] != [s[0]]] == []
    assert {pod for pod, _ in seen} == {"a", "b"}


@pytest.mark.parametrize("method, target, status, location", [
    ("GET", "/hostname-redirect", 302, "http://example.org/hostname-redirect"),
    ("GET", "/host-and-status", 301, "http://example.org/host-and-status"),
    ("POST", "/see-other", 303, "http://echo/see-other"),
    ("GET", "/temporary", 307, "http://echo/temporary"),
    ("POST", "/temporary/x?q=%20", 307, "http://echo/temporary/x?q=%20"),
    ("GET", "/permanent", 308, "http://echo/permanent"),
    ("GET", "/original-prefix/lemon", 302, "http://echo/replacement-prefix/lemon"),
    ("GET", "/full/path/original", 302, "http://echo/full-path-replacement"),
    ("GET", "/path-and-host", 302, "http://example.org/replacement-prefix"),
    ("GET", "/path-and-host/?", 302, "http://example.org/replacement-prefix/?"),
    ("GET", "/path-and-status", 301, "http://echo/replacement-prefix"),
    ("GET", "/full-path-and-host", 302, "http://example.org/replacement-full"),
    ("GET", "/full-path-and-status", 301, "http://echo/replacement-full"),
    ("GET", "/empty-prefix", 302, "http://echo/"),
    ("GET", "/empty-prefix/", 302, "http://echo/"),
    ("GET", "/empty-prefix/x", 302, "http://echo/x"),
    ("GET", "/port", 302, "http://echo:8083/port"),
    ("GET", "/port-and-host", 302, "http://example.org:8083/port-and-host"),
    ("GET", "/port-and-status", 301, "http://echo:8083/port-and-status"),
    ("GET", "/port-and-host-and-status", 302, "http://example.org:8083/port-and-host-and-status"),
    ("GET", "/scheme", 302, "https://echo/scheme"),
    ("GET", "/scheme-and-host", 302, "https://example.org/scheme-and-host"),
    ("GET", "/scheme-and-status", 301, "https://echo/scheme-and-status"),
    ("GET", "/scheme-and-host-and-status", 302, "https://example.org/scheme-and-host-and-status"),
])
def test_redirects(mesh, method, target, status, location):
    r = mesh.fetch(target, "multi", method=method, host="echo")
    assert (r.status, r.get("Location")) == (status, location)


@pytest.mark.parametrize("dialled", [80, 8080, 443])
@pytest.mark.parametrize("scheme, port", PORT_AND_SCHEME)
def test_redirect_port_and_scheme(mesh, dialled, scheme, port):
    """A mesh has no listener: the port that the client dialled stands for its port, the scheme is http."""
    path = f"/scheme-{scheme or 'nil'}-and-port-{port or 'nil'}"
    r = mesh.fetch(path, "multi", dialled, host="example.org")
    well_known = {"http": 80, "https": 443}
    expected = port or (well_known[scheme] if scheme else dialled)
    suffix = "" if expected == well_known[scheme or "http"] else f":{expected}"
    assert (r.status, r.get("Location")) == (302, f"{scheme or 'http'}://example.org{suffix}{path}")


@pytest.mark.parametrize("target, pod, host", [
    ("/one", "a", "one.example.org"), ("/two", "b", "example.org"),
    ("/rewrite-host-and-modify-headers", "b", "test.example.org"),
])
def test_rewrite_host(mesh, target, pod, host):
    seen = mesh.fetch(target, "hosts", host="rewrite.example", headers=TOGETHER_SENT).seen
    assert (seen["pod"], seen["target"], seen.all("host")) == (pod, target, [host])
    if target == "/rewrite-host-and-modify-headers":
        assert headers_of(seen, TOGETHER_SEEN) == TOGETHER_SEEN


@pytest.mark.parametrize("target, expected", [
    ("/prefix/one/two", "/one/two"), ("/strip-prefix/three", "/three"), ("/strip-prefix", "/"),
    ("/full/one/two", "/one"), ("/full/rewrite-path-and-modify-headers/test", "/test"),
    ("/prefix/rewrite-path-and-modify-headers/one", "/prefix/one"),
    ("/prefix/one?x=/prefix/one", "/one?x=/prefix/one"),
])
def test_rewrite_path(mesh, target, expected):
    seen = mesh.fetch(target, "paths", host="old.example:8080", headers=TOGETHER_SENT).seen
    assert (seen["target"], seen.all("host")) == (expected, ["old.example:8080"])
    if "modify-headers" in target:
        assert headers_of(seen, TOGETHER_SEEN) == TOGETHER_SEEN


@pytest.mark.parametrize("target, expected, host", [
    ("/full/original", "/rewritten-full", "echo"), ("/prefix/original", "/rewritten-prefix/original", "echo"),
    ("/prefix", "/rewritten-prefix", "echo"), ("/host/x?y", "/host/x?y", "backend.example"),
])
def test_backend_url_rewrite(mesh, target, expected, host):
    seen = mesh.fetch(target, "backends", host="echo").seen
    assert (seen["target"], seen.all("host")) == (expected, [host])


@pytest.mark.parametrize("target, location", [
    ("/redirect-full/original", "http://echo/redirected-full"),
    ("/redirect-prefix/original?q", "http://echo/redirected-prefix/original?q"),
])
def test_backend_request_redirect(mesh, target, location):
    r = mesh.fetch(target, "backends", host="echo")
    assert (r.status, r.get("Location")) == (302, location)


def test_filters_of_the_rule_and_of_the_backend(mesh):
    """On the way there the rule's come first, on the way back the backendRef's."""
    r = mesh.fetch("/rule-then-backend", "backends", host="echo")
    seen = r.seen
    assert (seen["target"], seen.all("host"), seen.get_header("x-by")) == ("/by-rule", ["backend.example"],
                                                                         "rule,backend")
    assert (r.get("X-Answer"), ",".join(r.all("X-By"))) == ("rule", "backend,rule")


def test_a_redirect_is_a_response_that_is_modified(mesh):
    r = mesh.fetch("/headers-then-redirect", "backends", host="echo")
    assert (r.status, r.get("Location")) == (302, "http://example.org/headers-then-redirect")
    assert (r.get("Cache-Control"), r.all("X-By")) == ("no-store", ["rule"])
    assert mesh.fetch("/redirect-of-a-backend", "backends").get("X-By") == "backend,rule"


@pytest.mark.parametrize("name", ["X-Header-Set", "x-header-set", "close, X-Header-Set"])
def test_a_client_cannot_take_off_what_a_filter_sets(mesh, name):
    """Connection names fields of the client's hop; what the route sets belongs to the next."""
    for service in ("requests", "requests-backend"):
        seen = mesh.fetch("/set", service, headers=[("Connection", name), ("X-Header-Set", "mine")]).seen
        assert seen.all("x-header-set") == ["set-overwrites-values"]


def test_a_server_cannot_take_off_what_a_filter_sets(mesh):
    r = mesh.fetch("/set?header=Connection:X-Header-Set&header=X-Header-Set:mine", "responses")
    assert r.all("X-Header-Set") == ["set-overwrites-values"]
