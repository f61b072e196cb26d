# SPDX-License-Identifier: Apache-2.0
"""RequestRedirect: status, and Location in all of its parts. No backend is ever asked."""
import pytest

from harness import manifests as m, rawhttp

PORTS = [m.port(80, 8080, "http"), m.port(8080, 8080, "alt")]

RULES = {
    "/hostname": m.redirect(hostname="example.org"),
    "/host-and-status": m.redirect(hostname="example.org", statusCode=301),
    "/301": m.redirect(statusCode=301, hostname="example.org"),
    "/303": m.redirect(statusCode=303, hostname="example.org"),
    "/307": m.redirect(statusCode=307, hostname="example.org"),
    "/308": m.redirect(statusCode=308, hostname="example.org"),
    "/https": m.redirect(scheme="https"),
    "/https-8443": m.redirect(scheme="https", port=8443),
    "/https-443": m.redirect(scheme="https", port=443),
    "/http": m.redirect(scheme="http"),
    "/port80": m.redirect(port=80),
    "/port8083": m.redirect(port=8083),
    "/port8083-host": m.redirect(port=8083, hostname="example.org"),
    "/full": m.redirect(full="/replacement"),
    "/full-query": m.redirect(full="/replacement", hostname="example.org", statusCode=301),
    "/prefix": m.redirect(prefix="/replacement"),
    "/strip": m.redirect(prefix="/", hostname="example.org"),
    "/trailing/": m.redirect(prefix="/new/"),
    "/nothing": m.redirect(),
}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("multi", [w.a], PORTS, vip=("10.96.0.21", "fd00:96::21"))
    items = list(RULES.items())
    for i in range(0, len(items), 10):
        w.route(f"redirects{i}", [m.rule(m.path(p), filters=f) for p, f in items[i:i + 10]],
                parents=["multi"])
    w.start()
    return w


@pytest.mark.parametrize("target, port, status, location", [
    ("/hostname", 80, 302, "http://example.org/hostname"),
    ("/hostname/x?a=b&c", 80, 302, "http://example.org/hostname/x?a=b&c"),
    ("/hostname", 8080, 302, "http://example.org:8080/hostname"),
    ("/host-and-status", 80, 301, "http://example.org/host-and-status"),
    ("/301", 80, 301, "http://example.org/301"),
    ("/303", 80, 303, "http://example.org/303"),
    ("/307", 80, 307, "http://example.org/307"),
    ("/308", 80, 308, "http://example.org/308"),
    ("/https", 80, 302, "https://web.shop/https"),
    ("/https", 8080, 302, "https://web.shop/https"),
    ("/https-8443", 80, 302, "https://web.shop:8443/https-8443"),
    ("/https-443", 80, 302, "https://web.shop/https-443"),
    ("/http", 80, 302, "http://web.shop/http"),
    ("/http", 8080, 302, "http://web.shop/http"),
    ("/port80", 80, 302, "http://web.shop/port80"),
    ("/port80", 8080, 302, "http://web.shop/port80"),
    ("/port8083", 80, 302, "http://web.shop:8083/port8083"),
    ("/port8083-host", 80, 302, "http://example.org:8083/port8083-host"),
    ("/full", 80, 302, "http://web.shop/replacement"),
    ("/full/deeper/still", 80, 302, "http://web.shop/replacement"),
    ("/full-query/x?q=1", 80, 301, "http://example.org/replacement?q=1"),
    ("/prefix", 80, 302, "http://web.shop/replacement"),
    ("/prefix/", 80, 302, "http://web.shop/replacement/"),
    ("/prefix/a/b?x", 80, 302, "http://web.shop/replacement/a/b?x"),
    ("/strip", 80, 302, "http://example.org/"),
    ("/strip/a", 80, 302, "http://example.org/a"),
    ("/trailing/a", 80, 302, "http://web.shop/new/a"),
    ("/nothing", 8080, 302, "http://web.shop:8080/nothing"),
])
def test_location(mesh, target, port, status, location):
    r = mesh.fetch(target, "multi", port, host="web.shop")
    assert (r.status, r.all("Location")) == (status, [location])
    assert mesh.a.backend.stats()["requests"] == 0, "no backend is asked"


def test_the_port_in_the_host_header_is_not_taken(mesh):
    r = mesh.fetch("/https", "multi", host="web.shop:1234")
    assert r.get("Location") == "https://web.shop/https"


def test_an_ipv6_literal_as_host(mesh):
    r = mesh.fetch("/https", "multi", family=6, host="[fd00:96::21]:80")
    assert r.get("Location") == "https://[fd00:96::21]/https"


def test_a_redirected_body_is_taken_and_the_connection_lives(mesh):
    def run():
        with rawhttp.Conn(mesh.addr("multi")) as c:
            first = c.request("POST", "/hostname", body=b"x" * 100000)
            second = c.request("GET", "/303")
            return first.status, second.status
    assert mesh.client.call(run) == (302, 303)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "OPTIONS"])
def test_methods(mesh, method):
    r = mesh.fetch("/hostname", "multi", method=method)
    assert (r.status, r.get("Location")) == (302, "http://example.org/hostname")
