# SPDX-License-Identifier: Apache-2.0
"""FaultInjection: delays and aborts over HTTP/1, HTTP/2 and gRPC, until they end by themselves."""
import json
import time

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import scaled, wait_for

ROUTE = ("HTTPRoute", "web")
CLIENTS = {"1.1": rawhttp, "2": h2client}
DELAY = 0.3
LONG = {"delay": {"percent": 100, "duration": "5m"}}
ABORT = {"abort": {"percent": 100, "httpStatus": 503}}


def wanting(what, **fault):
    """For requests that ask for it."""
    return {"matches": [m.headers(("x-chaos", what))], **fault}


FAULTS = [wanting("delay", delay={"percent": 100, "duration": f"{round(DELAY * 1000)}ms"}),
          wanting("abort", abort={"percent": 100, "httpStatus": 418}),
          wanting("grpc", abort={"percent": 100, "grpcStatus": 8}),
          wanting("mapped", abort={"percent": 100, "httpStatus": 503}),
          wanting("long", **LONG)]


@pytest.fixture(scope="module")
def mesh(make_world):
    """/one speaks HTTP/1 and /two HTTP/2; the faults are the route's for /one and the Service's for /two."""
    w = make_world().base()
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.95", "fd00:96::95"))
    w.add_service("one", [w.a], [m.port(80, 8080, app_protocol="http")], vip=("10.96.0.96", "fd00:96::96"))
    w.route("web", [{"name": "one", **m.rule(m.path("/one"), "one")}, m.rule(m.path("/two"), "two")])
    w.write("faults.yaml", [m.faults("of-rule", (*ROUTE, "one"), *FAULTS), m.faults("of-service", ("Service", "two"), *FAULTS)])
    w.start()
    return w


def ask(world, target="/", want=None, client="1.1", method="GET", headers=(), pod=None):
    """(answer, seconds)"""
    addr, module = world.addr(), CLIENTS[client]
    fields = [*headers, *([("x-chaos", want)] if want else [])]

    def run():
        with module.Conn(addr, timeout=20) as c:
            began = time.monotonic()
            answer = c.request(method, target, headers=fields)
            return answer, time.monotonic() - began
    return (pod or world.client).call(run, timeout=60)


BOTH = [pytest.mark.parametrize("client", CLIENTS), pytest.mark.parametrize("path", ["/one", "/two"])]


def both(test):
    for mark in BOTH:
        test = mark(test)
    return test


@both
def test_an_abort_answers_for_the_backend(mesh, client, path):
    for pod in (mesh.a, mesh.b):
        pod.backend.reset()
    answer, _ = ask(mesh, path, "abort", client)
    assert (answer.status, answer.body) == (418, b"sluice: aborted by FaultInjection/shop/of-%s\n" %
                                            (b"rule" if path == "/one" else b"service"))
    assert not mesh.a.backend.seen() and not mesh.b.backend.seen()
    assert ask(mesh, path, client=client)[0].status == 200


@both
def test_a_delay_comes_before_the_backend(mesh, client, path):
    answer, seconds = ask(mesh, path, "delay", client)
    assert answer.status == 200 and seconds >= DELAY
    records = wait_for(lambda: [r for r in mesh.access_records() if r.get("fault_delay_ns")])
    assert all(r["fault_delay_ns"] >= DELAY * 1e9 for r in records if r["end_reason"] == "complete")


@pytest.mark.parametrize("path", ["/one", "/two"])
@pytest.mark.parametrize("want,status", [("grpc", "8"), ("mapped", "14")])
def test_a_call_gets_a_status_of_grpc(mesh, path, want, status):
    answer, _ = ask(mesh, path, want, "2", "POST", [("content-type", "application/grpc"), ("te", "trailers")])
    assert answer.status == 200 and answer.body == b""
    assert answer.get("grpc-status") == status
    assert answer.get("content-type") == "application/grpc"
    assert answer.get("grpc-message").startswith("sluice: aborted by FaultInjection/")


@both
def test_who_goes_while_it_waits_frees_everything(mesh, client, path):
    before = mesh.metrics().sum("sluice_faults_total", kind="delay")
    addr = mesh.addr()

    def run(task):
        if client == "2":
            c = h2client.Conn(addr)
            id = c.open(target=path, headers=[("x-chaos", "long")])
            task.report()
            task.wait_stop()
            c.reset(id)
        else:
            c = rawhttp.Conn(addr)
            c.send(rawhttp.build(target=path, headers=[("x-chaos", "long")]))
            task.report()
            task.wait_stop()
        c.sock.close()
    task = mesh.spawn(mesh.client, run)
    wait_for(lambda: mesh.metrics().sum("sluice_faults_total", kind="delay") == before + 1, what="the delay")
    assert mesh.metrics().sum("sluice_requests_active") == 1
    task.stop()
    wait_for(lambda: mesh.metrics().sum("sluice_requests_active") == 0, what="nothing left of it")


def explain(world, *request):
    return json.loads(world.ctl_run("explain", *request).stdout)


def test_explain_shows_what_may_hit(mesh):
    one = explain(mesh, "-H", "x-chaos: abort", "http://web.shop/one")
    assert one["rule"]["faults"].startswith("FaultInjection/shop/of-rule: 100 of 100 are answered 418, until 2")
    assert explain(mesh, "http://web.shop/one")["rule"]["faults"] == \
        "FaultInjection/shop/of-rule: none of its faults is for this request"
    two = explain(mesh, "-H", "x-chaos: delay", "http://web.shop/two")
    assert "faults" not in two["rule"]
    assert two["backends"][0]["faults"].startswith("FaultInjection/shop/of-service: 100 of 100 requests wait 300 ms, until 2")
    text = mesh.ctl_run("explain", "-H", "x-chaos: delay", "http://web.shop/two", output=None).stdout
    assert "shop/two:80 has faults of FaultInjection/shop/of-service: 100 of 100" in text


def test_metrics_and_conditions(mesh):
    ask(mesh, "/one", "abort")
    assert mesh.metrics().sum("sluice_faults_total", kind="abort") > 0
    assert mesh.metrics().sum("sluice_end_reason_total", reason="fault") > 0
    found = conditions(mesh)
    assert {name: c[:2] for name, c in found.items()} == {"of-rule": ("True", "Accepted"), "of-service": ("True", "Accepted")}
    assert found["of-rule"][2].startswith("Applies to HTTPRoute shop/web rule one from 2")


def conditions(world):
    return {r["name"]: (c["status"], c["reason"], c["message"]) for r in world.status()["routes"]
            if r["kind"] == "FaultInjection" for p in r["parents"] for c in p["conditions"]}
