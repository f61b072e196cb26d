# SPDX-License-Identifier: Apache-2.0
"""What the agent tells: sluicectl in both forms, status file, metrics, access log, health."""
import ipaddress
import json
import os
import re
import socket

import pytest

from harness import manifests as m, rawhttp
from harness.agent import binary
from harness.netns import Entry
from harness.wait import wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("cart", [
        m.rule(m.path("/a"), [m.backend("a", weight=3), m.backend("b", weight=1)], name="split"),
        m.rule({**m.exact("/b"), "method": "GET"}, "b", m.request_headers(set={"X": "1"})),
        m.rule(m.path("/gone"), filters=m.redirect(hostname="example.org")),
    ])
    w.route("lost", [m.rule(backends="nobody")], ["a"])
    w.route("homeless", [m.rule(backends="a")], ["no-such-service"])
    w.route("wrong-port", [m.rule(backends="a")], [m.parent("web", port=81)])
    w.route("partly", [m.rule(m.regex("("), "a"), m.rule(m.path("/ok"), "a")], ["b"])
    w.route("conflict", [m.rule(m.path("/x"), "a", [m.rewrite(full="/y"), m.redirect(hostname="example.org")])], ["c"])
    w.write("empty.yaml", [m.service("empty", "10.96.0.48"), m.endpoint_slice("empty", [w.c], not_ready=[w.c])])
    w.start()
    for target in ("/a", "/a", "/a", "/a", "/b", "/gone", "/nowhere"):
        w.fetch(target, headers=[("User-Agent", "status-test")])
    return w


def route_status(mesh, name):
    return next(r for r in mesh.ctl("routes")["routes"] if r["name"] == name)


def conditions(route, parent=0):
    return {c["type"]: (c["status"], c["reason"]) for c in route["parents"][parent]["conditions"]}


@pytest.mark.parametrize("name, expected", [
    ("cart", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
    ("lost", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}),
    ("homeless", {"Accepted": ("False", "NoMatchingParent")}),
    ("wrong-port", {"Accepted": ("False", "NoMatchingParent")}),
    ("partly", {"Accepted": ("True", "Accepted"), "PartiallyInvalid": ("True", "UnsupportedValue")}),
    ("conflict", {"Accepted": ("False", "IncompatibleFilters")}),
])
def test_conditions(mesh, name, expected):
    shown = conditions(route_status(mesh, name))
    assert {k: shown.get(k) for k in expected} == expected
    if name in ("cart", "lost"):
        assert "PartiallyInvalid" not in shown


def test_the_status_file_says_the_same(mesh):
    in_file = {r["name"]: r["parents"] for r in mesh.status()["routes"]}
    shown = {r["name"]: r["parents"] for r in mesh.ctl("routes")["routes"]}
    assert in_file == shown
    parent = in_file["cart"][0]
    assert parent["controllerName"] == "sluice.dev/mesh"
    assert parent["parentRef"] == {"group": "", "kind": "Service", "name": "web"}, "as it was written"
    for c in parent["conditions"]:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", c["lastTransitionTime"]), c
        assert c["message"]


def test_status(mesh):
    s = mesh.ctl("status")
    assert s["pid"] == mesh.agent.pid
    assert s["workers"] == 2
    assert s["config"]["source"] == mesh.config
    assert [(e["file"], e["object"]) for e in s["config"]["errors"]][:1] == [
        ("route-shop-conflict.yaml", "HTTPRoute shop/conflict")]
    assert s["connections"]["total"] >= 7
    d = s["datapath"]
    assert (d["state"], d["cgroup"], d["failure_policy"]) == ("attached", mesh.fabric.cgroup.path, "open")
    assert d["heartbeat_age_ms"] < 2000 and d["steered"] >= 7


def test_routes_show_rules_and_requests(mesh):
    cart = route_status(mesh, "cart")
    assert (cart["kind"], cart["namespace"]) == ("HTTPRoute", "shop")
    assert cart["file"] == "route-shop-cart.yaml" and cart["line"] >= 1
    assert cart["rules"][0]["backends"] == [
        {"name": "shop/a:80", "weight": 3, "endpoints": 1, "ready": 1},
        {"name": "shop/b:80", "weight": 1, "endpoints": 1, "ready": 1}], "a dual-stack pod is one endpoint"
    assert cart["rules"][0]["name"] == "split"
    assert "/b" in cart["rules"][1]["matches"][0] and "GET" in cart["rules"][1]["matches"][0]
    assert cart["rules"][2]["filters"] == ["RequestRedirect"]
    wait_for(lambda: route_status(mesh, "cart")["requests"] == 6)


def test_services(mesh):
    services = {s["name"]: s for s in mesh.ctl("services")["services"]}
    web = services["web"]
    assert web["clusterIPs"] == list(mesh.vips["web"])
    port = web["ports"][0]
    assert (port["port"], port["routed"], port["routes"]) == (80, True, ["HTTPRoute/shop/cart"])
    assert (port["endpoints"], port["ready"]) == (3, 3)
    assert services["empty"]["ports"][0]["routed"] is False
    assert services["empty"]["ports"][0]["ready"] == 0


def test_endpoints(mesh):
    endpoints = mesh.ctl("endpoints")["endpoints"]
    [of_a] = [e for e in endpoints if e["service"] == "shop/a:80" and e["address"] == f"{mesh.a.v4}:8080"]
    assert of_a.items() >= {"pod": "shop/a", "node": "node-1", "ready": True, "ending": False, "used": True}.items()
    assert [e["ready"] for e in endpoints if e["service"] == "shop/empty:80"] in ([], [False])


def test_netns(mesh):
    known = {n["name"]: n for n in mesh.ctl("netns")["netns"]}
    n = known[os.path.basename(mesh.client.netns)]
    assert n["state"] == "ready"
    assert set(n["addresses"]) == {mesh.client.v4, mesh.client.v6}
    assert n["pod"] == "shop/client"
    assert any(a.startswith("127.0.0.1:") for a in n["listeners"])
    assert any(a.startswith("[::1]:") for a in n["listeners"])


def test_check(mesh):
    checks = mesh.ctl("check")["checks"]
    assert checks and all(c["ok"] for c in checks if c["required"]), checks


@pytest.mark.parametrize("command, words", [
    ("status", ["attached"]), ("services", ["web", "10.96.0.10"]), ("routes", ["cart", "Accepted"]),
    ("endpoints", ["shop/a:80", "ready"]), ("check", ["ok"]), ("netns", ["client", "ready"]), ("version", ["0.1.0"]),
])
def test_tables_for_people(mesh, command, words):
    out = mesh.ctl_run(command, output=None).stdout
    assert [w for w in words if w.lower() not in out.lower()] == [], out
    assert out == mesh.ctl_run(command, output="table").stdout or command == "status"


@pytest.mark.parametrize("command", ["status", "services", "routes", "endpoints", "check", "netns", "metrics", "version"])
def test_json_of_every_command(mesh, command):
    shown = json.loads(mesh.ctl_run(command).stdout)
    assert shown.keys() == mesh.ctl(command).keys()
    if command in ("services", "netns", "version"):
        assert shown == mesh.ctl(command)


def test_metrics_over_the_socket_are_those_of_http(mesh):
    text = mesh.ctl_run("metrics", output=None).stdout
    assert "# TYPE sluice_requests_total counter" in text


def test_request_metrics(mesh):
    metrics = mesh.metrics()
    label = {"service": "shop/web:80", "route": "HTTPRoute/shop/cart"}
    assert metrics.sum("sluice_requests_total", **label, rule="split") == 4
    assert metrics.sum("sluice_requests_total", **label, rule="split", backend="shop/a:80", code="200") == 3
    assert metrics.sum("sluice_requests_total", **label, code="302") == 1
    assert metrics.sum("sluice_requests_total", service="shop/web:80", code="404") == 1
    assert metrics.sum("sluice_request_duration_seconds_count", **label) == 6
    assert metrics.sum("sluice_end_reason_total", reason="no_route") >= 1
    assert metrics.sum("sluice_datapath_connects_total", reason="steered") >= 7


def test_metrics_are_well_formed(mesh):
    r = mesh.fabric.node.call(lambda: rawhttp.fetch(("127.0.0.1", 15020), target="/metrics"))
    assert r.get("Content-Type").startswith("text/plain; version=0.0.4")
    declared, seen = {}, set()
    for line in r.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in declared, f"{name} twice"
            declared[name] = kind
        elif not line.startswith("#"):
            series = line.rpartition(" ")[0]
            assert series not in seen, f"{series} twice"
            seen.add(series)
            name = series.partition("{")[0]
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in declared or declared.get(base) == "histogram", line
            if declared.get(name) == "counter":
                assert name.endswith("_total"), name


@pytest.mark.parametrize("path, status", [("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/x", 404)])
def test_http_endpoints(mesh, path, status):
    assert mesh.fabric.node.call(lambda: rawhttp.fetch(("127.0.0.1", 15020), target=path)).status == status


def test_access_log(mesh):
    def found():
        records = [r for r in mesh.access_records() if r.get("user_agent") == "status-test"]
        return records if len(records) == 7 else None
    records = wait_for(found)
    r = records[0]
    assert (r["source_namespace"], r["source_pod"]) == ("shop", "client")
    assert r["client"].startswith(mesh.client.v4 + ":")
    assert (r["service"], r["protocol"], r["method"], r["path"]) == ("shop/web:80", "HTTP/1.1", "GET", "/a")
    assert (r["authority"], r["status"], r["route"], r["rule"]) == ("web", 200, "HTTPRoute/shop/cart", "split")
    assert r["backend"] in ("shop/a:80", "shop/b:80")
    assert r["endpoint"] in (f"{mesh.a.v4}:8080", f"{mesh.b.v4}:8080", f"[{mesh.a.v6}]:8080", f"[{mesh.b.v6}]:8080")
    assert r["end_reason"] == "complete" and r["response_bytes"] > 0
    assert {q["path"]: (q["status"], q["end_reason"]) for q in records[4:]} == {
        "/b": (200, "complete"), "/gone": (302, "answered"), "/nowhere": (404, "no_route")}


def test_the_access_log_is_json_whatever_a_request_says(mesh):
    odd = '/odd"\\\x80\xff{}'

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return c.request(target=odd, headers=[("User-Agent", 'a"b\\c\t\xe9')]).status
    assert mesh.client.call(run) in (400, 404)
    mesh.fetch("/behind-the-odd-one")
    wait_for(lambda: any(r.get("path") == "/behind-the-odd-one" for r in mesh.access_records()))


def test_the_socket_is_for_root_only(mesh):
    assert os.stat(mesh.socket).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("request_", [b"nonsense\n", b"{}\n", b'{"command":"fly"}\n', b'{"command":1}\n', b"\n", b"[]\n",
                                      b'{"command":"status"' + b" " * 70000 + b"}\n", b""])
def test_nonsense_on_the_socket(mesh, request_):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(mesh.socket)
        try:
            s.sendall(request_)
            s.shutdown(socket.SHUT_WR)
            answer = s.makefile("rb").read()
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    if answer:
        assert json.loads(answer)["error"]["message"]
    assert mesh.ctl("version")["version"]


def test_a_wrong_command_line(mesh):
    r = mesh.ctl_run("fly", check=False)
    assert r.returncode not in (0, 1) or "fly" in r.stderr
    assert r.stderr
    r = Entry().run([binary("sluicectl"), "-s", mesh.folder + "/no.sock", "status"], check=False)
    assert r.returncode != 0 and "no.sock" in r.stderr


def test_an_unused_client_of_the_socket_holds_nothing_up(mesh):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(mesh.socket)
        assert mesh.ctl("status")["workers"] == 2


def test_bpftool_shows_the_maps(mesh):
    """Pinned, with BTF: readable without any tool of ours."""
    def dump(name):
        out = Entry().run(["bpftool", "-j", "map", "dump", "pinned", os.path.join(mesh.bpffs, name)]).stdout
        return [e["formatted"] for e in json.loads(out)]

    def address(numbers):
        return ipaddress.ip_address(bytes(numbers)).ipv4_mapped or ipaddress.ip_address(bytes(numbers))

    services = {e["value"]["name"]: e for e in dump("sl_svc") if address(e["key"]["addr"]).version == 4}
    web = next(e for name, e in services.items() if name.startswith("shop/web:"))
    assert (str(address(web["key"]["addr"])), web["key"]["port"]) == mesh.addr(), services
    assert web["value"]["policy"] == "SL_POLICY_OPEN" and web["value"]["provider"] == "SL_PROVIDER_SELF", web
    endpoints = {(str(address(e["value"]["addr"])), e["value"]["port"]) for e in dump("sl_ep")
                 if e["key"]["id"] == web["value"]["id"]}
    assert len(endpoints) == web["value"]["n_endpoints"] and (mesh.a.v4, 8080) in endpoints, endpoints
    assert all(1024 <= e["value"]["port4"] < 65536 for e in dump("sl_netns"))
    [counters] = dump("sl_stat")
    assert sum(cpu["value"]["steered"] for cpu in counters["values"]) > 0, counters
