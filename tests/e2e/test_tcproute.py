# SPDX-License-Identifier: Apache-2.0
"""TCPRoute: whole connections to the backends of a rule, by weight; nothing in them is looked at."""
import json
import socket

import pytest

from harness import manifests as m, pattern, rawhttp
from harness.wait import wait_for

PORTS = {"echo": 9000, "banner": 9001, "sink": 9002}


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for pod in "abc":
        for kind, number in PORTS.items():
            w.add_service(f"{kind}-{pod}", [w.pods[pod]], [m.port(90, number, "raw")])
    w.add_service("empty", [], [m.port(90, 9000, "raw")])
    for name, protocol in (("echo", None), ("banner", "tcp"), ("declared", "http"), ("split", None), ("half", None),
                           ("lost", None), ("none", None), ("idle", None), ("zero", None), ("two", "mysql")):
        w.add_service(name, [w.c], [m.port(90, 9001, "raw", protocol), m.port(80, 8080, "http")])
    route = lambda name, *backends, **kw: w.l4_route(
        "TCPRoute", name, [m.backend(b, 90, weight) for b, weight in backends], [m.parent(name, port=90)], **kw)
    route("echo", ("echo-a", None))
    route("banner", ("banner-b", None))
    route("declared", ("echo-a", 1))
    route("split", ("banner-a", 3), ("banner-b", 1), ("banner-c", 0))
    route("half", ("banner-a", 1), ("nowhere", 1))
    route("lost", ("nowhere", 1))
    route("idle", ("empty", 1))
    route("zero", ("banner-a", 0))
    route("two", ("banner-a", 1), created="2026-01-02T00:00:00Z")
    w.write("older.yaml", m.route("older", [m.rule(backends=m.backend("banner-b", 90))], [m.parent("two", port=90)],
                                  kind="TCPRoute", created="2026-01-01T00:00:00Z"))
    w.write("none.yaml", m.route("none", [m.rule()], [m.parent("none", port=90)], kind="TCPRoute"))
    w.start()
    return w


def exchange(world, service, data, family=4, pod=None):
    def run():
        with rawhttp.Conn(world.addr(service, 90, family)) as c:
            c.send(data)
            c.sock.shutdown(socket.SHUT_WR)
            return c.read_to_eof()
    return (pod or world.client).call(run)


def greeted_by(world, service, n=1, pod=None):
    """Which pods greet n connections; None for one that is refused."""
    def run():
        names = []
        for _ in range(n):
            try:
                with rawhttp.Conn(world.addr(service, 90), timeout=5) as c:
                    names.append(c.read_line().split()[1].decode())
            except (ConnectionError, EOFError):
                names.append(None)
        return names
    return (pod or world.client).call(run, timeout=60)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00", bytes(range(256)) * 1000],
                         ids=["HTTP", "TLS", "HTTP2", "zero", "all bytes"])
@pytest.mark.parametrize("service", ["echo", "declared"])
def test_bytes_are_not_looked_at(mesh, service, data, family):
    assert exchange(mesh, service, data, family) == data


def test_a_server_that_speaks_first_is_heard_and_sees_the_client(mesh):
    def run():
        with rawhttp.Conn(mesh.addr("banner", 90), timeout=3) as c:
            greeting = c.read_line()
            c.send(b"HELO me\r\n")
            return greeting, c.read_line()
    assert mesh.client.call(run) == (f"220 b ready for {mesh.client.v4}".encode(), b"HELO me")


def test_large_transfers_and_half_close(mesh):
    mesh.l4_route("TCPRoute", "echo", [m.backend("sink-a", 90)], [m.parent("echo", port=90)])
    wait_for(lambda: mesh.ctl("routes") and exchange(mesh, "echo", b"x").startswith(b"1 "), what="the other backend")
    data = b"".join(pattern.pieces(3 << 20))
    assert exchange(mesh, "echo", data).split()[0] == str(len(data)).encode()
    mesh.l4_route("TCPRoute", "echo", [m.backend("echo-a", 90)], [m.parent("echo", port=90)])
    wait_for(lambda: exchange(mesh, "echo", b"x") == b"x", what="the first backend again")


def test_weights_count_connections(mesh):
    names = greeted_by(mesh, "split", 200)
    assert {n: abs(names.count(n) / 200 - share) < 0.02 for n, share in (("a", 0.75), ("b", 0.25), ("c", 0))} == \
        dict.fromkeys("abc", True), {n: names.count(n) for n in set(names)}


def test_the_share_of_an_invalid_backend_is_refused(mesh):
    names = greeted_by(mesh, "half", 40)
    assert 18 <= names.count("a") <= 22 and names.count("a") + names.count(None) == 40


@pytest.mark.parametrize("service", ["lost", "idle", "zero", "none"])
def test_without_backend_connections_are_refused(mesh, service):
    assert greeted_by(mesh, service, 3) == [None] * 3


def test_of_several_routes_the_oldest_carries_the_traffic(mesh):
    assert greeted_by(mesh, "two", 4) == ["b"] * 4
    routes = {r["name"]: r for r in mesh.ctl("routes")["routes"]}
    for name in ("two", "older"):
        assert {(c["type"], c["status"]) for c in routes[name]["parents"][0]["conditions"]} == {
            ("Accepted", "True"), ("ResolvedRefs", "True")}
    assert (routes["two"]["requests"], routes["older"]["requests"] >= 4) == (0, True)


def test_the_other_port_is_as_without_mesh(mesh):
    services = {s["name"]: s for s in mesh.ctl("services")["services"]}
    ports = {p["port"]: (p["routed"], p["routes"]) for p in services["echo"]["ports"]}
    assert ports == {90: (True, ["TCPRoute/shop/echo"]), 80: (False, [])}


def test_metrics_log_and_connections_name_the_rule(mesh):
    labels = {"service": "shop/banner:90", "route": "TCPRoute/shop/banner", "backend": "shop/banner-b:90"}
    before = mesh.metrics().sum("sluice_route_connections_total", **labels)
    n = len(mesh.access_records())

    def run(task):
        with rawhttp.Conn(mesh.addr("banner", 90)) as c:
            c.read_line()
            task.report()
            task.wait_stop()
    task = mesh.spawn(mesh.client, run)
    task.next_report()
    conns = [c for c in mesh.ctl("conns")["connections"] if c.get("route") == "TCPRoute/shop/banner"]
    assert [(c["state"], c["protocol"], c["rule"], c["endpoint"]) for c in conns] == [
        ("tunnel", "tcp", "0", f"{mesh.b.v4}:9001")]
    task.stop_and_result()
    assert mesh.metrics().sum("sluice_route_connections_total", **labels) == before + 1
    record = wait_for(lambda: next((r for r in mesh.access_records()[n:] if r.get("route") == "TCPRoute/shop/banner"),
                                   None), what="the record")
    assert (record["rule"], record["backend"], record["protocol"], record["endpoint"], record["service"]) == (
        "0", "shop/banner-b:90", "tcp", f"{mesh.b.v4}:9001", "shop/banner:90")


def test_explain(mesh):
    x = json.loads(mesh.ctl_run("explain", "tcp://split.shop:90").stdout)
    assert x["result"] == {"kind": "connection"} and x["rule"]["route"] == "TCPRoute/shop/split"
    assert [(b["name"], b["share"]) for b in x["backends"]] == [("shop/banner-a:90", 0.75), ("shop/banner-b:90", 0.25)]
    x = json.loads(mesh.ctl_run("explain", "tcp://lost.shop:90").stdout)
    assert [(b["resolved"], b["refused"]) for b in x["backends"]] == [(False, True)]
    text = mesh.ctl_run("explain", "tcp://two.shop:90", output=None).stdout
    assert "any connection" in text and "as it is" in text and "fits too, comes later" in text
