# SPDX-License-Identifier: Apache-2.0
"""XBackendTrafficPolicy: a backend that fails gets no more retries than its budget allows. Backends count."""
import json

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import wait_for

N = 60


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    ports = {"one": m.port(80, 8080, app_protocol="http"), "two": m.port(80, 9100, app_protocol="kubernetes.io/h2c")}
    for i, (name, port) in enumerate(ports.items()):
        w.add_service(name, [w.a], [port], vip=(f"10.96.0.{91 + i}", f"fd00:96::{91 + i}"))
    w.add_service("free", [w.a], [ports["one"]], vip=("10.96.0.93", "fd00:96::93"))
    retry = {"codes": [503], "attempts": 1, "backoff": "0s"}
    w.route("web", [m.rule(m.path(f"/{name}"), name, retry=retry) for name in ("one", "two", "free")])
    w.write("budgets.yaml", [
        m.retry_budget("first", ["one", "missing"], created="2026-01-01T00:00:00Z",
                       budget={"percent": 20, "interval": "1h"}, minRetryRate={"count": 1, "interval": "1h"}),
        m.retry_budget("second", ["one", "two"], created="2026-01-02T00:00:00Z",
                       budget={"percent": 20, "interval": "1h"}, minRetryRate={"count": 1, "interval": "1h"})])
    w.start()
    return w


@pytest.mark.parametrize("client", ["1.1", "2"])
@pytest.mark.parametrize("backend", ["one", "two"])
def test_a_budget_holds(mesh, client, backend):
    """Of all that goes out a fifth may be retries, whatever the share of requests that fail."""
    # A new policy of its own for each case: none has to pay for the case before.
    mesh.write("budgets.yaml", [m.retry_budget("first", ["one", "missing"], budget={"percent": 20, "interval": "1h"},
                                               minRetryRate={"count": 1, "interval": "50m" if client == "2" else "1h"}),
                                m.retry_budget("second", ["one", "two"], budget={"percent": 20, "interval": "1h"},
                                               minRetryRate={"count": 1, "interval": "50m" if client == "2" else "1h"})])
    minutes = 50 if client == "2" else 60
    wait_for(lambda: f"or 1 in {minutes * 60000} ms" in explain(mesh, backend).get("retry_budget", ""))
    mesh.a.backend.reset()
    module, addr = {"1.1": rawhttp, "2": h2client}[client], mesh.addr()

    def run():
        with module.Conn(addr) as c:
            answers = [c.request("POST", f"/{backend}?status=503&n={i}") for i in range(N)]
            return [(r.status, b"retry budget" in r.body) for r in answers]
    answers = mesh.client.call(run)
    sent = len(mesh.a.backend.seen())
    assert {status for status, _ in answers} == {503}
    retries = sent - N
    assert N * 0.2 <= retries <= sent * 0.2 + 1, "a retry is a fifth of what goes out"
    assert sum(own for _, own in answers) == N - retries, "the others hear why"


def test_without_a_policy_there_is_no_budget(mesh):
    mesh.a.backend.reset()

    def run():
        with rawhttp.Conn(addr) as c:
            return [c.request(target=f"/free?status=503&n={i}").status for i in range(N)]
    addr = mesh.addr()
    assert mesh.client.call(run) == [503] * N
    assert len(mesh.a.backend.seen()) == 2 * N


def explain(mesh, backend):
    answer = json.loads(mesh.ctl_run("explain", "POST", f"http://web.shop/{backend}").stdout)
    return answer["backends"][0]


def test_what_users_see(mesh):
    assert explain(mesh, "one")["retry_budget"].startswith("XBackendTrafficPolicy/shop/first: 20 % in 3600000 ms")
    assert explain(mesh, "two")["retry_budget"].startswith("XBackendTrafficPolicy/shop/second")
    assert "retry_budget" not in explain(mesh, "free")
    found = {(r["name"], p["parentRef"]["name"]): p["conditions"][0]["reason"] for r in mesh.status()["routes"]
             if r["kind"] == "XBackendTrafficPolicy" for p in r["parents"]}
    assert found == {("first", "one"): "Accepted", ("first", "missing"): "TargetNotFound",
                     ("second", "one"): "Conflicted", ("second", "two"): "Accepted"}
    records = wait_for(lambda: [r for r in mesh.access_records() if r["end_reason"] == "retry_budget"])
    assert {r["status"] for r in records} == {503}
    assert mesh.metrics().sum("sluice_upstream_retries_over_budget_total") > 0
