# SPDX-License-Identifier: Apache-2.0
"""sluicectl's own work: explain, validate, conns, top, and the shell's completion."""
import json
import os
import socket

import pytest

from harness import load, manifests as m, rawhttp
from harness.agent import SANITIZER_ENV, binary
from harness.netns import Entry
from harness.wait import wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("cart", [
        m.rule({**m.path("/a"), **m.headers(("x-stage", "beta"))}, "c", name="beta"),
        m.rule(m.path("/a"), [m.backend("a", weight=3), m.backend("b", weight=1)],
               m.request_headers(set={"X": "1"}), name="split", timeouts={"request": "5s", "backendRequest": "1s"}),
        m.rule({**m.exact("/b"), "method": "POST", **m.queries(("q", "1"))}, "b"),
        m.rule(m.path("/old"), filters=m.redirect(prefix="/new", statusCode=301)),
        m.rule(m.path("/moved"), "b", m.rewrite(prefix="/to", hostname="b.example")),
        m.rule(m.path("/lost"), "nobody"),
    ])
    w.route("theirs", [m.rule(m.path("/"), m.backend("c", ns="shop"))], [m.parent("web", ns="shop")], ns="other")
    w.add_service("plain", [w.a])
    w.add_service("db", [w.a], [m.port(app_protocol="tcp")])
    w.route("db", [m.rule(backends="a")], ["db"])
    w.add_service("echo", [w.b], [m.port(80, 9000, "any")])
    w.route("echo", [m.rule(backends="a")], ["echo"])
    w.start()
    return w


def explain(mesh, *argv):
    return json.loads(mesh.ctl_run("explain", *argv).stdout)


CLIENT = ("--from", "shop/client")


@pytest.mark.parametrize("argv, rule, kind, more", [
    (("http://web.shop/a/1?x=1",), "split", "backends", {"path": "/a/1?x=1", "authority": "web.shop"}),
    (("shop/web/a/1",), "split", "backends", {"path": "/a/1", "authority": "web.shop"}),
    (("shop/web:80",), None, "answer", {"status": 404}),
    (("http://web/a/../a",), "split", "backends", {"path": "/a/../a"}),
    (("http://web:80/a", "-H", "X-Stage: beta"), "beta", "backends", {}),
    (("POST", "10.96.0.10:80/b?p=2&q=1"), "2", "backends", {"path": "/b?p=2&q=1"}),
    (("POST", "[fd00:96::10]:80/b?q=1"), "2", "backends", {}),
    (("GET", "http://web/b?q=1"), None, "answer", {"status": 404}),
    (("http://web/old/x?y", "-H", "Host: w.example"), "3", "redirect",
     {"status": 301, "location": "http://w.example/new/x?y"}),
    (("http://web/moved/x",), "4", "backends", {"path": "/to/x", "authority": "b.example"}),
    (("http://web/lost",), "5", "backends", {}),
    (("http://plain/",), None, "pass_through", {}),
    (("http://db/",), None, "pass_through", {}),
    (("10.1.2.3:80/",), None, "pass_through", {}),
    (("http://web/", "-H", "Content-Length: x"), None, "answer", {"status": 400}),
])
def test_explain(mesh, argv, rule, kind, more):
    x = explain(mesh, *CLIENT, *argv)
    assert x.get("rule", {}).get("name") == rule
    assert x["result"]["kind"] == kind
    assert {k: x["result"].get(k) for k in more} == more
    assert [s["rule"] for s in x.get("rules", []) if s["verdict"] == "takes"] == ([rule] if rule else [])


def test_explain_says_what_fails(mesh):
    x = explain(mesh, *CLIENT, "POST", "http://web/b?q=2")
    steps = {s["rule"]: s for s in x["rules"]}
    assert steps["2"]["verdict"] == "query" and steps["2"]["condition"] == "query q = 1" and steps["2"]["have"] == "2"
    assert steps["split"]["verdict"] == "path"
    assert [s["rule"] for s in x["rules"]][0] == "2", "an exact path comes first"
    x = explain(mesh, *CLIENT, "http://web/a")
    steps = {s["rule"]: s for s in x["rules"]}
    assert (steps["beta"]["verdict"], steps["beta"]["condition"]) == ("header", "header x-stage = beta")
    assert "have" not in steps["beta"]
    assert steps["2"]["verdict"] == "path"


def test_explain_says_what_the_rule_does(mesh):
    x = explain(mesh, *CLIENT, "http://web/a")
    assert x["rule"] == {"route": "HTTPRoute/shop/cart", "name": "split", "request_timeout_ms": 5000,
                         "backend_request_timeout_ms": 1000, "filters": ["RequestHeaderModifier: set X = 1"]}
    assert [(b["name"], b["weight"], b["share"], b["ready"]) for b in x["backends"]] == [
        ("shop/a:80", 3, 0.75, 1), ("shop/b:80", 1, 0.25, 1)]
    assert x["backends"][0]["addresses"] == [f"{mesh.a.v4}:8080"]
    lost = explain(mesh, *CLIENT, "http://web/lost")["backends"]
    assert [(b["resolved"], b["status"]) for b in lost] == [(False, 500)]


@pytest.mark.parametrize("source, table, route", [
    ("shop/client", "producer", "HTTPRoute/shop/cart"), ("shop", "producer", "HTTPRoute/shop/cart"),
    ("other/alien", "consumer", "HTTPRoute/other/theirs"), ("other", "consumer", "HTTPRoute/other/theirs"),
    (None, "producer", "HTTPRoute/shop/cart"), ("other/nobody", "producer", "HTTPRoute/shop/cart"),
])
def test_explain_knows_whose_rules_apply(mesh, source, table, route):
    x = explain(mesh, *(("--from", source) if source else ()), "http://web.shop/a")
    assert (x["table"], x["rule"]["route"]) == (table, route)
    assert ("note" in x) == (source == "other/nobody")


@pytest.mark.parametrize("pod, target, headers", [
    ("client", "/a/x", []), ("client", "/a/x", [("X-Stage", "beta")]), ("client", "/nowhere", []),
    ("client", "/old/1", []), ("alien", "/b", []), ("client", "/moved", []),
])
def test_explain_agrees_with_the_agent(mesh, pod, target, headers):
    """The access log says what happened, explain what would: the same."""
    entry = getattr(mesh, pod)
    marker = f"explain{target}-{pod}-{len(headers)}"
    mesh.fetch(target, pod=entry, headers=[("User-Agent", marker), *headers])
    record = wait_for(lambda: next((r for r in mesh.access_records() if r.get("user_agent") == marker), None))
    argv = [w for n, v in headers for w in ("-H", f"{n}: {v}")]
    x = explain(mesh, "--from", f"{entry.namespace}/{entry.name}", f"http://{mesh.vips['web'][0]}{target}", *argv)
    assert x.get("rule", {}).get("route") == record.get("route")
    assert x.get("rule", {}).get("name") == record.get("rule")
    if "backend" in record:
        assert record["backend"] in [b["name"] for b in x["backends"]]
    else:
        assert x["result"]["status"] == record["status"]
    if not headers:
        logged = explain(mesh, "--log-line", json.dumps(record))
        assert logged.pop("logged") == record
        assert logged["result"]["kind"] == x["result"]["kind"] and logged.get("rule") == x.get("rule")


def test_explain_for_people(mesh):
    out = mesh.ctl_run("explain", *CLIENT, "http://web/a?x=1", output=None).stdout
    for words in ("Request             GET /a?x=1, Host web", "From                Pod shop/client",
                  "Taken by            HTTPRoute/shop/cart, rule split", "producer routes", "75.0%",
                  "header x-stage = beta: there is none", "takes the request"):
        assert words in out, out


@pytest.mark.parametrize("url, words", [
    ("http://plain/", "no route is attached"), ("http://db/", "appProtocol"), ("10.1.2.3:80/", "no Service"),
])
def test_explain_says_why_nothing_is_done(mesh, url, words):
    assert words in explain(mesh, *CLIENT, url)["result"]["reason"]


@pytest.mark.parametrize("argv, status, words", [
    ((), 2, "a URL is missing"), (("http://web/", "--log-line", "{}"), 2, "whole request"),
    (("ftp://web/",), 2, "https"), (("http://web/", "-H", "nonsense"), 2, "is no header"),
    (("--log-line", "nonsense"), 2, "not a line"), (("--log-line", '{"protocol":"tcp"}'), 2, "tunnel"),
    (("http://web/",), 1, "namespace"), (("http://nothing.shop/",), 1, "no Service shop/nothing"),
    (("http://web.shop:81/",), 1, "no TCP port 81"), (("http://web.shop/ x",), 1, "white space"),
    (("http://web.shop/", "-H", "a: b\r\nc: d"), 1, "one line"),
])
def test_explain_refuses(mesh, argv, status, words):
    r = mesh.ctl_run("explain", *argv, check=False)
    assert r.returncode == status and words in r.stderr, r


# ---- validate ----

def validate(world, *options, check=True):
    return world.ctl_run("validate", world.config, *options, check=check, output=None)


def test_validate_passes_what_the_agent_takes(mesh):
    shown = json.loads(validate(mesh, "-o", "json", check=False).stdout)
    status = {r["name"]: r for r in mesh.status()["routes"]}
    assert shown["errors"] == [] and shown["documents"] > 10
    for route in shown["routes"]:
        for parent, known in zip(route["parents"], status[route["name"]]["parents"]):
            assert [(c["type"], c["status"], c["reason"], c["message"]) for c in parent["conditions"]] == \
                [(c["type"], c["status"], c["reason"], c["message"]) for c in known["conditions"]]


def test_validate_without_an_agent(world):
    world.base()
    world.route("good", [m.rule(m.path("/a"), "a")])
    r = validate(world)
    assert r.stdout.endswith("0 errors, 0 warnings, 0 conditions not met\n") and r.returncode == 0
    world.route("bad", [m.rule(m.path("a"), "a"), m.rule(backends="nobody")])
    world.write_text("broken.yaml", "kind: [\n")
    r = validate(world, check=False)
    assert r.returncode == 1 and r.stderr == ""
    lines = r.stdout.splitlines()
    assert any(line.startswith("broken.yaml:2: error: ") for line in lines), r.stdout
    assert any("route-shop-bad.yaml:" in line and "HTTPRoute shop/bad: spec.rules[0].matches[0].path.value: " in line
               for line in lines), r.stdout
    assert any("ResolvedRefs is False: HTTPRoute shop/bad, parent Service shop/web: BackendNotFound" in line
               for line in lines), r.stdout
    r = world.ctl_run("validate", world.config + "/nothing", check=False, output=None)
    assert r.returncode == 1 and "No such file or directory" in r.stderr


# ---- conns ----

def conns(world, *options):
    return json.loads(world.ctl_run("conns", *options).stdout)


def test_conns(mesh):
    def run(task):
        with rawhttp.Conn(mesh.addr()) as idle, rawhttp.Conn(mesh.addr()) as busy, \
                rawhttp.Conn(mesh.addr("echo")) as tunnel:
            idle.request(target="/a")
            busy.request(target="/a")
            busy.send(b"POST /a/long?x HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n123")
            tunnel.send(b"\0\1\2")
            assert tunnel.read_exact(3) == b"\0\1\2"
            task.report([c.sock.getsockname()[1] for c in (idle, busy, tunnel)])
            task.wait_stop()

    task = mesh.spawn(mesh.client, run)
    ports = task.next_report()

    def found():
        by_port = {int(c["client"].rpartition(":")[2]): c for c in conns(mesh)["connections"]}
        shown = [by_port.get(p) for p in ports]
        return shown if all(shown) and shown[1]["state"] == "waiting" else None
    idle, busy, tunnel = wait_for(found, what="three connections")
    assert (idle["state"], idle["protocol"], idle["pod"], idle["service"], idle["requests"]) == (
        "idle", "HTTP/1.1", "shop/client", "shop/web:80", 1)
    assert idle["client"].startswith(mesh.client.v4 + ":") and idle["original"] == mesh.vips["web"][0] + ":80"
    assert idle["received"] > 20 and idle["sent"] > 100 and "method" not in idle
    assert (busy["method"], busy["path"], busy["authority"], busy["rule"], busy["requests"]) == (
        "POST", "/a/long?x", "web", "split", 2)
    assert busy["endpoint"] in (f"{mesh.a.v4}:8080", f"{mesh.b.v4}:8080")
    assert (tunnel["state"], tunnel["protocol"], tunnel["service"]) == ("tunnel", "tcp", "shop/echo:80")
    assert (tunnel["endpoint"], tunnel["received"], tunnel["sent"]) == (f"{mesh.b.v4}:9000", 3, 3)
    out = mesh.ctl_run("conns", "--from", "shop/client", output=None).stdout
    assert "POST /a/long?x" in out and "shop/client" in out
    assert conns(mesh, "--from", "shop")["connections"] and not conns(mesh, "--from", "other/alien")["connections"]
    task.stop_and_result()
    wait_for(lambda: not conns(mesh)["connections"], what="no connections")
    assert mesh.ctl_run("conns", output=None).stdout == "no connections\n"


def test_conns_twice_have_rates(mesh):
    good = mesh.load(threads=2, keep_alive=True, target="/a")
    out = mesh.ctl_run("conns", "-n", "2", "-i", "1", output=None).stdout
    first, second = out.split("\n\n")
    assert "IN/OUT-PER-S" not in first and "IN/OUT-PER-S" in second, out
    good.stop_and_result()


def test_conns_of_thousands(mesh):
    """Every one is seen once, the list is limited unless asked for, and nobody waits for it."""
    n = 2500
    task = mesh.spawn(mesh.client, load.hold, mesh.addr(), n)
    task.next_report(timeout=120)
    limited = conns(mesh)
    assert len(limited["connections"]) == 1000 and limited["left_out"] and limited["total"] == n
    assert "1000 of 2500 shown, --all shows all" in mesh.ctl_run("conns", output=None).stdout
    everything = conns(mesh, "--all")
    assert not everything["left_out"] and everything["workers_missing"] == 0
    ids = [c["id"] for c in everything["connections"]]
    assert len(ids) == n == len(set(ids))
    assert len({c["client"] for c in everything["connections"]}) == n
    assert {c["worker"] for c in everything["connections"]} == {0, 1}
    task.stop_and_result(timeout=60)


def test_conns_asked_by_clients_that_go(mesh):
    """A client that goes before its answer leaves nothing behind; questions beyond the limit are refused."""
    task = mesh.spawn(mesh.client, load.hold, mesh.addr(), 300)
    task.next_report(timeout=60)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(mesh.socket)
            s.sendall(b'{"command":"conns","limit":0}\n')
    wait_for(lambda: mesh.ctl_run("conns", check=False).returncode == 0, what="an answer")
    task.stop_and_result(timeout=60)


# ---- top ----

def test_top(mesh):
    good = mesh.load(threads=2, keep_alive=True, target="/a")
    lost = mesh.load(threads=1, keep_alive=True, target="/lost")
    shown = json.loads(mesh.ctl_run("top", "-n", "1", "-i", "1").stdout)
    assert shown["requests_rate"] > 10 and shown["errors_rate"] > 1 and shown["connections"] >= 3
    top = shown["rows"][0]
    assert (top["service"], top["route"]) == ("shop/web:80", "HTTPRoute/shop/cart")
    assert 0 < top["p50_ms"] <= top["p99_ms"] < 10000 and 0 < top["errors_rate"] < top["requests_rate"]
    out = mesh.ctl_run("top", "-n", "2", "-i", "1", output=None).stdout
    assert out.count("REQUESTS/S  ERRORS/S") == 2 and "\033" not in out, out
    good.stop_and_result()
    lost.stop_and_result()


# ---- the shell's completion ----

COMPLETION = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "completion", "sluicectl")


@pytest.mark.parametrize("line, want", [
    ("routes HTTPRoute/shop/c", {"HTTPRoute/shop/cart"}), ("routes -o json HTTPRoute/other/", {"HTTPRoute/other/theirs"}),
    ("conns --from shop/cl", {"shop/client"}), ("explain -f oth", {"other/alien", "other"}),
    ("explain shop/we", {"shop/web:80/"}), ("explain shop/web:8", {"80/"}),
])
def test_completion_of_names(mesh, line, want):
    line = f"{binary('sluicectl')} -s {mesh.socket} {line}"
    script = ('source "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _sluicectl; printf "%s\\n" "${COMPREPLY[@]}"')
    r = Entry().run(["bash", "--norc", "-c", script, "bash", COMPLETION, line], env=dict(os.environ, **SANITIZER_ENV))
    assert set(r.stdout.split()) == want, r


def test_serving_is_mine_or_not(mesh, monkeypatch):
    """The agent of this world has no POD_NAME."""
    monkeypatch.delenv("POD_NAME", raising=False)
    assert mesh.ctl_run("serving", output=None).stdout == f"pid {mesh.agent.pid}\n"
    monkeypatch.setenv("POD_NAME", "another")
    assert mesh.ctl_run("serving", check=False).returncode == 1
