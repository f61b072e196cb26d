# SPDX-License-Identifier: Apache-2.0
"""TrafficPolicy: balancers, ejection and recovery, limits, over HTTP/1 and HTTP/2; sessionAffinity of a Service."""
import collections

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import scaled, wait_for

H1, H2 = [m.port(app_protocol="http")], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")]
BOTH = pytest.mark.parametrize("ports", [H1, H2], ids=["http1", "http2"])


def hashed(kind, **fields):
    return {"type": "ConsistentHash", "consistentHash": {"type": kind, **fields}}


@pytest.fixture
def mesh(world):
    """A Service "pool" of a, b and c, behind web, with a policy that the test writes."""
    world.base()
    world.route("r", [m.rule(backends="pool")])

    def start(ports=H1, workers=1, pods=None, service=None, **policy):
        pods = pods or [world.a, world.b, world.c]
        world.write("pool.yaml", [m.service("pool", "10.96.2.1", ports, **(service or {})),
                                  m.endpoint_slice("pool", pods, ports)])
        if policy:
            world.write("policy.yaml", m.policy("p", "pool", **policy))
        world.start(workers=workers)
        return world
    return start


def answers(world, n, pod=None, conn=rawhttp.Conn, **kw):
    """(status, pod) of n requests, one after the other on one connection."""
    addr = world.addr()

    def run():
        out = []
        with conn(addr) as c:
            for i in range(n):
                r = c.request(**{k: v(i) if callable(v) else v for k, v in kw.items()})
                out.append((r.status, r.seen["pod"] if r.status == 200 else None))
        return out
    return (pod or world.client).call(run, timeout=60)


def ejected(world):
    return {e["pod"] for e in world.ctl("endpoints")["endpoints"]
            if e["service"] == "shop/pool:80" and e.get("ejected")}


# balancers

@pytest.mark.parametrize("ports,balancer", [(H1, "LeastRequest"), (H2, "PeakEWMA")], ids=["http1", "http2"])
def test_all_endpoints_serve(mesh, ports, balancer):
    world = mesh(ports, loadBalancer={"type": balancer})
    pods = collections.Counter(pod for _, pod in answers(world, 60))
    assert set(pods) == {"a", "b", "c"}


@pytest.mark.parametrize("source,conn,ports", [("header", rawhttp.Conn, H1), ("cookie", h2client.Conn, H2),
                                               ("cookie", rawhttp.Conn, H1)], ids=["header", "http2", "cookie"])
def test_what_a_request_carries_chooses_the_endpoint(mesh, ports, conn, source):
    lb = hashed("Header", name="X-User") if source == "header" else hashed("Cookie", name="user")
    world = mesh(ports, workers=2, loadBalancer=lb)

    def headers(i):
        user = f"user-{i % 12}"
        return [("x-user", user)] if source == "header" else [("cookie", f"other=1; user={user}; user2=x")]
    first, second = (answers(world, 36, conn=conn, headers=headers) for _ in range(2))
    assert first == second, "also on another connection, and in another worker"
    by_user = [set(first[i::12]) for i in range(12)]
    assert all(len(pods) == 1 for pods in by_user)
    assert len(set().union(*by_user)) > 1


def test_a_source_stays_and_moves_only_when_its_endpoint_goes(mesh):
    world = mesh(workers=2, loadBalancer=hashed("SourceIP"))
    home = {p.name: {pod for _, pod in answers(world, 9, pod=p)} for p in (world.client, world.alien)}
    assert all(len(pods) == 1 for pods in home.values())
    (lost,) = home["client"]
    left = [p for p in (world.a, world.b, world.c) if p.name != lost]
    world.write("pool.yaml", [m.service("pool", "10.96.2.1", H1), m.endpoint_slice("pool", left, H1)])
    wait_for(lambda: lost not in {pod for _, pod in answers(world, 3)}, what="another endpoint")
    assert len({pod for _, pod in answers(world, 9)}) == 1
    if home["alien"] != {lost}:
        assert {pod for _, pod in answers(world, 9, pod=world.alien)} == home["alien"]


def test_session_affinity_of_a_service(mesh):
    world = mesh(workers=2, service={"sessionAffinity": "ClientIP"})
    homes = {p.name: {pod for _, pod in answers(world, 9, pod=p) + answers(world, 9, pod=p)}
             for p in (world.client, world.alien)}
    assert all(len(pods) == 1 for pods in homes.values())


# ejection

@BOTH
def test_an_endpoint_that_fails_is_ejected_and_comes_back(mesh, ports):
    world = mesh(ports, outlierDetection={"consecutive5xx": 3, "baseEjectionTime": "700ms"})
    world.b.backend.set(status="503")
    statuses = collections.Counter(status for status, _ in answers(world, 30))
    assert statuses[503] == 3, "then it gets no more"
    assert ejected(world) == {"shop/b"}
    assert world.metrics().sum("sluice_endpoint_ejections_total") == 1
    assert {pod for _, pod in answers(world, 12)} == {"a", "c"}
    world.b.backend.set(status=None)
    wait_for(lambda: "b" in {pod for _, pod in answers(world, 6)}, what="the ejected endpoint to come back")
    assert not ejected(world)


def test_an_endpoint_that_refuses_connections_is_ejected(mesh):
    world = mesh(outlierDetection={"consecutiveConnectErrors": 2, "baseEjectionTime": "60s"})
    world.write("dead.yaml", m.endpoint_slice("pool", [world.b], [m.port(target=7999)], suffix="dead"))
    wait_for(lambda: (answers(world, 8), ejected(world))[1] == {"shop/b"}, what="the dead port to be ejected")
    before = world.metrics().sum("sluice_upstream_connects_total", result="refused")
    assert [status for status, _ in answers(world, 20)] == [200] * 20
    assert world.metrics().sum("sluice_upstream_connects_total", result="refused") == before


def test_only_so_many_are_ejected(mesh):
    world = mesh(outlierDetection={"consecutive5xx": 1, "baseEjectionTime": "60s", "maxEjectedPercent": 40})
    for pod in (world.a, world.b):
        pod.backend.set(status="500")
    answers(world, 20)
    assert len(ejected(world)) == 1, "40 % of three"


# limits

def hold(task, addr, n):
    """n requests at a time, which the backend answers late; their statuses."""
    conns = [rawhttp.Conn(addr) for _ in range(n)]
    for c in conns:
        c.send(rawhttp.build(target=f"/?delay={round(scaled(0.7) * 1000)}"))
    task.report()
    out = collections.Counter(c.read_response().status for c in conns)
    for c in conns:
        c.close()
    return out


@BOTH
def test_requests_at_a_time_are_limited(mesh, ports):
    world = mesh(ports, workers=2, circuitBreaker={"maxRequests": 2})
    task = world.spawn(world.client, hold, world.addr(), 5)
    assert task.result() == {200: 2, 503: 3}
    assert world.metrics().sum("sluice_circuit_breaker_overflows_total", limit="requests") == 3
    wait_for(lambda: [r["end_reason"] for r in world.access_records() if r["status"] == 503] == ["overflow"] * 3, what="the log")
    assert [status for status, _ in answers(world, 4)] == [200] * 4


def test_a_full_endpoint_is_passed_over(mesh):
    world = mesh(circuitBreaker={"perEndpoint": {"maxRequests": 1}})
    assert world.spawn(world.client, hold, world.addr(), 5).result() == {200: 3, 503: 2}


def test_connections_are_limited_and_idle_ones_make_room(mesh):
    world = mesh(circuitBreaker={"maxConnections": 2})
    assert world.spawn(world.client, hold, world.addr(), 4).result() == {200: 2, 503: 2}
    # Two are idle now, of another pod.
    assert [status for status, _ in answers(world, 6, pod=world.alien)] == [200] * 6
    assert sum(p.backend.stats()["open"] for p in (world.a, world.b, world.c)) <= 2


@BOTH
def test_a_connection_carries_so_many_requests(mesh, ports):
    world = mesh(ports, circuitBreaker={"maxRequestsPerConnection": 2})
    addr = world.addr()

    def run():
        with rawhttp.Conn(addr) as c:
            return [(r.seen["pod"], r.seen["conn"]) for r in (c.request() for _ in range(24))]
    assert set(collections.Counter(world.client.call(run)).values()) == {2}


def test_a_connection_dialled_ahead_has_carried_nothing(mesh):
    world = mesh(circuitBreaker={"maxRequestsPerConnection": 2})
    addr = world.addr()
    pods = (world.a, world.b, world.c)

    def run(task):
        with rawhttp.Conn(addr) as c:
            task.wait_stop()
            return [(r.seen["pod"], r.seen["conn"]) for r in (c.request() for _ in range(6))]
    task = world.spawn(world.client, run)
    wait_for(lambda: sum(p.backend.stats()["open"] for p in pods) == 1, what="a connection to hear who speaks first")
    task.stop()
    assert set(collections.Counter(task.result()).values()) == {2}


# the object

def test_conditions_and_explain(mesh):
    world = mesh(loadBalancer={"type": "LeastRequest"}, circuitBreaker={"maxRequests": 9})
    world.write("more.yaml", [m.policy("younger", "pool", created="2026-01-02T00:00:00Z"),
                              m.policy("astray", ["nothing", ("pool", "nowhere")])])
    world.write("policy.yaml", m.policy("p", "pool", created="2026-01-01T00:00:00Z", loadBalancer={"type": "PeakEWMA"}))

    def conditions():
        found = {}
        for r in world.ctl("routes")["routes"]:
            if r["kind"] == "TrafficPolicy":
                found[r["name"]] = [(c["status"], c["reason"]) for p in r["parents"] for c in p["conditions"]]
        return found
    wait_for(lambda: conditions() == {"p": [("True", "Accepted")], "younger": [("False", "Conflicted")],
                                      "astray": [("False", "TargetNotFound")] * 2}, what="the conditions")
    assert "TrafficPolicy/shop/younger" in world.ctl_run("routes", output=None).stdout
    shown = world.ctl_run("explain", "http://web.shop/").stdout
    assert "TrafficPolicy/shop/p: PeakEWMA" in shown


def test_a_wrong_policy_names_its_field(mesh):
    world = mesh(loadBalancer={"type": "Best"})
    errors = world.ctl("status")["config"]["errors"]
    assert [(e["field"], e["object"]) for e in errors] == [("spec.loadBalancer.type", "TrafficPolicy shop/p")]
    assert {pod for _, pod in answers(world, 6)} == {"a", "b", "c"}


@pytest.mark.parametrize("conn,ports,kind", [(rawhttp.Conn, H1, "HTTPRoute"), (h2client.Conn, H2, "GRPCRoute")],
                         ids=["http1", "http2"])
def test_a_routes_policy_is_for_its_requests(mesh, conn, ports, kind):
    """The Service's policy would keep each source at one endpoint; the route's takes them in turn."""
    world = mesh(ports, workers=1, loadBalancer=hashed("SourceIP"))
    assert len(set(answers(world, 9, conn=conn))) == 1
    world.remove_route("r")
    write = world.route if kind == "HTTPRoute" else world.grpc_route
    write("own", [m.rule(backends="pool")])
    world.write("own.yaml", m.policy("own", f"{kind}/own", loadBalancer={"type": "RoundRobin"}))

    def conditions():
        routes = {(r["kind"], r["name"]): r for r in world.ctl("routes")["routes"]}
        parents = routes.get(("TrafficPolicy", "own"), {}).get("parents")
        return parents and [(p["parentRef"]["kind"], c["status"]) for p in parents for c in p["conditions"]]
    wait_for(lambda: conditions() == [(kind, "True")], what="the policy to be accepted")
    headers = [("content-type", "application/grpc"), ("te", "trailers")] if kind == "GRPCRoute" else []
    assert set(answers(world, 12, conn=conn, headers=headers, target="/p.S/M")) == {(200, p) for p in "abc"}
    services = {e["service"] for e in world.ctl("endpoints")["endpoints"]}
    assert {"shop/pool:80", f"shop/pool:80 {kind}/shop/own"} <= services
    world.remove("own.yaml")
    wait_for(lambda: len(set(answers(world, 9, conn=conn, headers=headers, target="/p.S/M"))) == 1,
             what="the Service's policy to apply again")
    assert services - {e["service"] for e in world.ctl("endpoints")["endpoints"]} == {f"shop/pool:80 {kind}/shop/own"}
