# SPDX-License-Identifier: Apache-2.0
"""Cases of the Gateway API's conformance tests, and of its mesh rules, that need a configuration of their
own: shares, generations, routes that come and go, parts of a Service."""
import time

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for

MARK = m.response_headers(set={"X-Header-Set": "set"})
PORTS = [m.port(80, 8080, "http"), m.port(8080, 8080, "http-alt")]


def test_weighted_backends(world):
    world.base()
    world.route("weighted", [m.rule(backends=[m.backend(n, weight=w) for n, w in zip("abc", (70, 30, 0))])])
    world.start()
    pods = world.pods_of(500)
    assert {p: abs(pods.count(p) / 500 - share) <= 0.05 for p, share in zip("abc", (0.7, 0.3, 0))} == dict.fromkeys(
        "abc", True), {p: pods.count(p) for p in "abc"}
    assert pods.count("c") == 0


def test_weights_of_one_million_and_of_the_invalid(world):
    """Shares of an invalid backend are 500, whatever it lacks; the rest is served."""
    world.base()
    world.route("invalid", [m.rule(backends=[
        m.backend("a", weight=1000000), m.backend("nonexistent", weight=500000),
        m.backend("b", 8081, weight=250000), m.backend("c", weight=250000, group="x.example", kind="Y")])])
    world.start(workers=1)
    statuses = [world.fetch().status for _ in range(40)]
    assert [statuses.count(200), statuses.count(500)] == [20, 20]


def test_observed_generation_bump(world):
    world.base()

    def write(generation, path, status_of_others):
        route = m.route("bump", [m.rule(m.path(path), "a")])
        route["metadata"]["generation"] = generation
        # What is in the file as status is not ours: neither read nor repeated.
        route["status"] = {"parents": list(status_of_others)}
        world.write("bump.yaml", route)

    def seen():
        (route,) = [r for r in world.status()["routes"] if r["name"] == "bump"]
        (parent,) = route["parents"]
        return parent["controllerName"], {c["type"]: (c["observedGeneration"], c["lastTransitionTime"], c["status"])
                                          for c in parent["conditions"]}
    foreign = {"controllerName": "example.com/other", "parentRef": m.parent(), "conditions": []}
    write(1, "/one", [foreign])
    world.start()
    controller, first = wait_for(seen)
    assert controller == "sluice.dev/mesh" and {c[0] for c in first.values()} == {1}
    # A second is the resolution of the times: an edit in the same one would prove nothing.
    newest = max(c[1] for c in first.values())
    wait_for(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > newest, what="the next second")
    write(2, "/two", [foreign])
    wait_for(lambda: {c[0] for c in seen()[1].values()} == {2}, what="generation 2 to be observed")
    second = seen()[1]
    assert {k: c[1:] for k, c in second.items()} == {k: c[1:] for k, c in first.items()}, "nothing changed its status"
    assert world.fetch("/two").status == 200
    route = m.route("bump", [m.rule(m.path("/three"), "nonexistent")])
    route["metadata"]["generation"] = 3
    world.write("bump.yaml", route)
    wait_for(lambda: seen()[1]["ResolvedRefs"][::2] == (3, "False"), what="ResolvedRefs to change")
    third = seen()[1]
    assert third["ResolvedRefs"][1] > second["ResolvedRefs"][1], "a new time with a new status"
    assert third["Accepted"][1] == second["Accepted"][1]


def test_a_route_is_live_and_gone_within_half_a_second(world):
    """On a connection that is open already, and came through the agent."""
    world.base()
    world.route("stays", [m.rule(m.path("/stays"), "a")])
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            def until(status):
                began = time.monotonic()
                while c.request(target="/comes").status != status:
                    assert time.monotonic() - began < scaled(10)
                return time.monotonic() - began
            task.report(c.request(target="/stays").status)
            added = until(200)
            task.report(added)
            return added, until(404)
    task = world.spawn(world.client, run)
    assert task.next_report() == 200
    world.route("comes", [m.rule(m.path("/comes"), "b")])
    task.next_report()
    world.remove_route("comes")
    added, gone = task.result()
    assert added < scaled(0.5) and gone < scaled(0.5), (added, gone)


@pytest.mark.parametrize("refs, marked", [
    ([m.parent("multi", port=80), m.parent("multi", port=8080)], [80, 8080]),
    ([m.parent("multi", section="http"), m.parent("multi", section="http-alt")], [80, 8080]),
    ([m.parent("multi", section="http-alt")], [8080]),
    ([m.parent("multi", port=8080, section="http-alt")], [8080]),
    ([m.parent("multi", port=8080, section="http")], []),
    ([m.parent("multi", port=80), m.parent("a", port=80)], [80]),
], ids=["both ports", "both names", "name", "port and name", "they differ", "two services"])
def test_parts_of_a_service(world, refs, marked):
    world.base()
    world.add_service("multi", [world.c], PORTS)
    world.route("parts", [m.rule(backends="b", filters=MARK)], refs)
    # Both ports are known to the mesh in any case: the other route marks nothing.
    world.route("rest", [m.rule(m.path("/rest"), "a")], ["multi"], created="2026-01-01T00:00:00Z")
    world.start()
    for port in (80, 8080):
        r = world.fetch("/x", "multi", port)
        assert (r.status, r.get("X-Header-Set")) == ((200, "set") if port in marked else (404, None)), port
        assert world.fetch("/rest", "multi", port).seen["pod"] == "a"
    parents = next(r for r in world.ctl("routes")["routes"] if r["name"] == "parts")["parents"]
    assert [p["parentRef"] for p in parents] == refs, "a status of its own for each"


def test_only_the_ports_with_routes_answer_404(world):
    """An attachment to one port leaves the other as it was: with a consumer's route elsewhere, to all."""
    world.base()
    world.add_service("multi", [world.c], PORTS)
    world.route("producer", [m.rule(m.path("/only"), "a")], [m.parent("multi", port=80)])
    world.route("consumer", [m.rule(m.path("/theirs"), m.backend("b", ns="shop"))],
                [m.parent("multi", ns="shop", port=8080)], ns="other")
    world.start()
    assert [world.fetch(t, "multi").status for t in ("/only", "/other")] == [200, 404]
    assert [world.fetch(t, "multi", pod=world.alien).status for t in ("/only", "/other")] == [200, 404], \
        "consumer routes of another port do not hide the producer's"
    assert [world.fetch(t, "multi", 8080).seen["pod"] for t in ("/only", "/theirs")] == ["c", "c"]
    assert [world.fetch(t, "multi", 8080, pod=world.alien).status for t in ("/theirs", "/only")] == [200, 404]


def test_two_services_of_one_route_can_differ_in_what_is_accepted(world):
    world.base()
    world.route("both", [m.rule(backends="b", filters=MARK)], ["web", m.parent("a", port=81), "no-such",
                                                              {"group": "gateway.networking.k8s.io", "kind": "Gateway",
                                                               "name": "edge"}])
    world.start()
    assert world.fetch().get("X-Header-Set") == "set"
    parents = next(r for r in world.ctl("routes")["routes"] if r["name"] == "both")["parents"]
    assert [(p["parentRef"]["name"], p["conditions"][0]["status"]) for p in parents] == [
        ("web", "True"), ("a", "False"), ("no-such", "False")], "none for the Gateway, which is not ours"


def accepted(world, kind, name):
    for r in world.ctl("routes")["routes"]:
        if (r["kind"], r["name"]) == (kind, name):
            return next((c["status"], c["reason"]) for c in r["parents"][0]["conditions"] if c["type"] == "Accepted")
    return None


def test_a_grpcroute_takes_the_port_and_gives_it_back(world):
    world.base()
    world.route("http", [m.rule(m.path("/x"), "a")])
    world.start()
    assert world.fetch("/x").status == 200
    for _ in range(2):
        world.grpc_route("grpc", [m.rule({"method": {"service": "pkg.S"}}, "a")])
        wait_for(lambda: accepted(world, "HTTPRoute", "http") == ("False", "Conflicted"),
                 what="the HTTPRoute to give way")
        assert accepted(world, "GRPCRoute", "grpc") == ("True", "Accepted")
        assert world.fetch("/x").status == 404, "rules of the two kinds are never merged"
        world.remove("grpcroute-shop-grpc.yaml")
        wait_for(lambda: accepted(world, "HTTPRoute", "http") == ("True", "Accepted"),
                 what="the HTTPRoute to be in force again")
        assert world.fetch("/x").status == 200
