# SPDX-License-Identifier: Apache-2.0
"""URLRewrite on rules and backendRefs: path, Host and query as the backend sees them."""
import pytest

from harness import manifests as m, rawhttp


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("rewrites", [
        m.rule(m.path("/foo"), "a", m.rewrite(prefix="/xyz")),
        m.rule(m.path("/slash/"), "a", m.rewrite(prefix="/xyz/")),
        m.rule(m.path("/strip"), "a", m.rewrite(prefix="")),
        m.rule(m.path("/strip-root"), "a", m.rewrite(prefix="/")),
        m.rule(m.path("/full"), "a", m.rewrite(full="/one/two")),
        m.rule(m.exact("/exact-full"), "a", m.rewrite(full="/one")),
        m.rule(m.path("/host"), "a", m.rewrite(hostname="new.example")),
        m.rule(m.path("/host-path"), "a", m.rewrite(hostname="new.example", prefix="/p")),
        m.rule(m.path("/with-headers"), "a", [
            m.request_headers(set={"X-Set": "1"}, add={"X-Add": "1"}), m.rewrite(prefix="/h")]),
        m.rule(m.path("/ref"), [m.backend("a", filters=m.rewrite(prefix="/for-a"))]),
        m.rule(m.path("/root-to"), "a", m.rewrite(full="/")),
        m.rule(m.regex("/re/.*"), "a", m.rewrite(full="/from-re")),
    ])
    w.add_service("whole", [w.b], vip=("10.96.0.22", "fd00:96::22"))
    w.route("whole", [m.rule(m.path("/"), "b", m.rewrite(prefix="/base"))], parents=["whole"])
    w.start()
    return w


@pytest.mark.parametrize("target, expected", [
    ("/foo/bar", "/xyz/bar"), ("/foo", "/xyz"), ("/foo/", "/xyz/"), ("/foo/bar/?q=1&r", "/xyz/bar/?q=1&r"),
    ("/foo?", "/xyz?"), ("/foo//x", "/xyz//x"), ("/foo/%2F%20", "/xyz/%2F%20"),
    ("/slash/bar", "/xyz/bar"), ("/slash", "/xyz"), ("/slash/", "/xyz/"),
    ("/strip/bar", "/bar"), ("/strip", "/"), ("/strip/", "/"), ("/strip?q", "/?q"),
    ("/strip-root/bar", "/bar"), ("/strip-root", "/"), ("/strip-root/", "/"),
    ("/full", "/one/two"), ("/full/x/y?z=1", "/one/two?z=1"), ("/exact-full?a", "/one?a"),
    ("/host/x?y", "/host/x?y"), ("/host-path/x?y", "/p/x?y"), ("/with-headers/x", "/h/x"),
    ("/ref/x", "/for-a/x"), ("/root-to/x", "/"), ("/re/x?q=1", "/from-re?q=1"),
])
def test_the_path_that_the_backend_sees(mesh, target, expected):
    r = mesh.fetch(target)
    assert (r.status, r.seen["target"]) == (200, expected)


@pytest.mark.parametrize("target, expected", [("/", "/base/"), ("/x", "/base/x"), ("/x/?q", "/base/x/?q")])
def test_a_prefix_of_everything_is_replaced(mesh, target, expected):
    assert mesh.fetch(target, "whole").seen["target"] == expected


@pytest.mark.parametrize("target, host", [
    ("/host", "new.example"), ("/host-path/x", "new.example"), ("/foo/x", "old.example:81"), ("/full", "old.example:81"),
])
def test_the_host_that_the_backend_sees(mesh, target, host):
    assert mesh.fetch(target, host="old.example:81").seen.all("host") == [host]


def test_headers_and_rewrite_together(mesh):
    seen = mesh.fetch("/with-headers/x", headers=[("X-Set", "0"), ("X-Add", "0")]).seen
    assert (seen["target"], seen.get_header("x-set"), seen.get_header("x-add")) == ("/h/x", "1", "0,1")


def test_the_next_request_on_the_connection_is_not_touched(mesh):

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return [c.request(target=t).seen["target"] for t in ("/host-path/1", "/foo/2", "/host/3", "/full")]
    assert mesh.client.call(run) == ["/p/1", "/xyz/2", "/host/3", "/one/two"]
