# SPDX-License-Identifier: Apache-2.0
"""Shares of traffic: exact ones, and what the invalid and the empty backends' shares get."""
import collections

import pytest

from harness import manifests as m, rawhttp


def statuses(world, n, target="/", service="web"):
    """Counts of (status, pod) over n requests on one connection."""
    addr = world.addr(service)

    def run():
        counts = collections.Counter()
        conn = rawhttp.Conn(addr)
        for _ in range(n):
            r = conn.request(target=target)
            counts[r.status, r.get("X-Pod")] += 1
            if r.get("Connection", "").lower() == "close":
                conn.close()
                conn = rawhttp.Conn(addr)
        conn.close()
        return counts
    return world.client.call(run, timeout=60)


@pytest.mark.parametrize("weights", [(70, 30), (1, 1), (90, 10), (1, 2, 1), (0, 1), (1000000, 1000000)])
def test_shares_are_exact(world, weights):
    world.base()
    names = "abc"[:len(weights)]
    world.route("split", [m.rule(backends=[m.backend(n, weight=w) for n, w in zip(names, weights)])])
    world.start(workers=1)
    total = sum(weights)
    n = 200 if total > 1000 else total * (200 // total or 1)
    counts = statuses(world, n)
    for name, weight in zip(names, weights):
        assert abs(counts[200, name] - n * weight / total) <= 1, counts


def test_shares_hold_for_many_connections_over_all_workers(world):
    world.base()
    world.route("split", [m.rule(backends=[m.backend("a", weight=70), m.backend("b", weight=30)])])
    world.start()

    def run():
        counts = collections.Counter()
        for _ in range(200):
            counts[rawhttp.fetch(world.addr()).get("X-Pod")] += 1
        return counts
    counts = world.client.call(run, timeout=60)
    assert abs(counts["a"] - 140) <= 10, counts


def test_each_request_on_a_connection_is_given_a_backend(world):
    world.base()
    world.route("split", [m.rule(backends=["a", "b"])])
    world.start(workers=1)
    pods = world.pods_of(10)
    assert [pods.count("a"), pods.count("b")] == [5, 5]
    assert pods[:2] * 5 == pods, "smooth, not in runs"


def test_weight_zero_gets_nothing_even_when_it_does_not_exist(world):
    world.base()
    world.route("split", [m.rule(backends=[m.backend("a"), m.backend("nobody", weight=0)])])
    world.start()
    assert statuses(world, 50) == {(200, "a"): 50}


def test_all_weights_zero_is_500(world):
    world.base()
    world.route("split", [m.rule(backends=[m.backend("a", weight=0), m.backend("b", weight=0)])])
    world.start()
    assert world.fetch().status == 500


def test_the_share_of_a_backend_that_does_not_exist_gets_500(world):
    world.base()
    world.route("split", [m.rule(backends=[m.backend("a", weight=3), m.backend("nobody", weight=1)])])
    world.start(workers=1)
    counts = statuses(world, 40)
    assert (counts[200, "a"], counts[500, None]) == (30, 10)


def test_the_share_of_a_backend_without_ready_endpoints_gets_503(world):
    world.base()
    world.write("empty.yaml", [m.service("empty", "10.96.0.30"),
                               m.endpoint_slice("empty", [world.b], not_ready=[world.b])])
    world.route("split", [m.rule(backends=[m.backend("a", weight=1), m.backend("empty", weight=1)])])
    world.start(workers=1)
    counts = statuses(world, 20)
    assert (counts[200, "a"], counts[503, None]) == (10, 10)
    assert world.b.backend.stats()["requests"] == 0


@pytest.mark.parametrize("what, ref", [
    ("port", {"name": "a", "port": 81}),
    ("kind", {"group": "example.com", "kind": "Bucket", "name": "a", "port": 80}),
    ("external name", {"name": "outside", "port": 80}),
])
def test_backends_that_cannot_be_used_answer_500(world, what, ref):
    world.base()
    world.write("outside.yaml", {"apiVersion": "v1", "kind": "Service",
                                 "metadata": {"name": "outside", "namespace": "shop"},
                                 "spec": {"type": "ExternalName", "externalName": "example.com",
                                          "ports": [m.port()]}})
    world.route("bad", [m.rule(m.path("/bad"), [ref]), m.rule(m.path("/good"), "a")])
    world.start()
    assert (world.fetch("/bad").status, world.fetch("/good").status) == (500, 200)


def test_no_backend_refs_is_500(world):
    world.base()
    world.route("none", [m.rule(m.path("/"))])
    world.start()
    assert world.fetch().status == 500
    assert sum(p.backend.stats()["requests"] for p in (world.a, world.b, world.c)) == 0


def test_one_service_twice_with_different_filters(world):
    world.base()
    refs = [m.backend("a", filters=m.request_headers(set={"X-Way": str(i)})) for i in (1, 2)]
    world.route("twice", [m.rule(backends=refs)])
    world.start(workers=1)

    def run():
        with rawhttp.Conn(world.addr()) as c:
            return [c.request().seen.get_header("x-way") for _ in range(10)]
    ways = world.client.call(run)
    assert sorted(ways) == ["1"] * 5 + ["2"] * 5


def test_endpoints_of_a_backend_take_turns(world):
    world.base()
    world.route("all", [m.rule(backends="web")])
    world.start(workers=1)
    pods = world.pods_of(12)
    assert [pods.count(p) for p in "abc"] == [4, 4, 4]


def test_headless_services_serve_as_backends(world):
    world.base()
    world.write("headless.yaml", [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless", "namespace": "shop"},
         "spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": [m.port()]}},
        m.endpoint_slice("headless", [world.c])])
    world.route("to", [m.rule(backends="headless")])
    world.start()
    assert world.fetch().seen["pod"] == "c"


def test_a_target_port_is_found_by_the_name_of_the_service_port(world):
    ports = [m.port(80, 8080, "web"), m.port(81, 8080, "other")]
    world.base()
    world.add_service("named", [world.b], ports)
    world.route("to", [m.rule(backends=[m.backend("named", 81)])])
    world.start()
    assert world.fetch().seen["pod"] == "b"
