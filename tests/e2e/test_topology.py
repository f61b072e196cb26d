# SPDX-License-Identifier: Apache-2.0
"""Which endpoints of a Service a node's clients get: hints, trafficDistribution, internalTrafficPolicy, endpoints that end.
What changes while the agent runs is in test_endpoints.py."""
import pytest

from harness import h2client, manifests as m


def zones(*names):
    return {"forZones": [{"name": n} for n in names]}


def nodes(*names):
    return {"forNodes": [{"name": n} for n in names]}


@pytest.fixture(scope="module")
def near(make_world):
    """One agent for node-1 in zone z1; a is there, b in the zone, c elsewhere. A Service for each way to choose."""
    world = make_world()
    world.base()
    a, b, c = world.a, world.b, world.c
    places = {a: ("node-1", "z1"), b: ("node-2", "z1"), c: ("node-3", "z2")}
    world.write("node.yaml", [m.node(zone="z1"), m.node("node-2", zone="z2")])
    cases = {
        "zone-hint": ({}, {"hints": {a: zones("z2"), b: zones("z1", "z2"), c: zones("z1")}}, "bc"),
        "node-hint": ({}, {"hints": {a: nodes("node-2"), b: nodes("node-2"), c: nodes("node-1")}}, "c"),
        "hint-once": ({}, {"hints": {a: zones("z1")}}, "abc"),
        "close": ({"trafficDistribution": "PreferClose"}, {}, "ab"),
        "same-zone": ({"trafficDistribution": "PreferSameZone"}, {}, "ab"),
        "same-node": ({"trafficDistribution": "PreferSameNode"}, {}, "a"),
        "local": ({"internalTrafficPolicy": "Local"}, {}, "a"),
        "ending": ({}, {"ending": [a, b], "not_ready": [c]}, "ab"),
        "one-ready": ({}, {"ending": [a, b]}, "c"),
        "close-ends": ({"trafficDistribution": "PreferClose"}, {"ending": [a], "not_ready": [b]}, "c"),
        "local-ends": ({"internalTrafficPolicy": "Local"}, {"ending": [a]}, "a"),
    }
    http = [m.port(app_protocol="http")]  # what clients of HTTP/2 send is translated
    for i, (name, (spec, slice_, _)) in enumerate(cases.items()):
        world.write(f"{name}.yaml", [
            m.service(name, f"10.96.1.{i}", http, **spec),
            m.endpoint_slice(name, [a, b, c], http, places=places, **slice_)])
    world.write("nowhere.yaml", [m.service("nowhere", "10.96.1.99", internalTrafficPolicy="Local"),
                                 m.endpoint_slice("nowhere", [b, c], places=places)])
    world.route("r", [m.rule(m.path(f"/{name}"), name) for name in [*cases, "nowhere"]])
    world.start(node="node-1")
    world.cases = {name: pods for name, (_, _, pods) in cases.items()}
    return world


@pytest.mark.parametrize("name", ["zone-hint", "node-hint", "hint-once", "close", "same-zone", "same-node", "local",
                                  "ending", "one-ready", "close-ends", "local-ends"])
def test_clients_get_the_endpoints_that_are_meant_for_them(near, name):
    assert set(near.pods_of(9, f"/{name}")) == set(near.cases[name])


@pytest.mark.parametrize("name", ["zone-hint", "local", "ending"])
def test_it_is_the_same_in_http2(near, name):
    addr = near.addr()

    def run():
        with h2client.Conn(addr) as c:
            return {c.request(target=f"/{name}").seen["pod"] for _ in range(9)}
    assert near.client.call(run) == set(near.cases[name])


def test_a_local_service_without_an_endpoint_here_answers_503(near):
    assert near.fetch("/nowhere").status == 503


def test_sluicectl_shows_where_requests_go(near):
    shown = {e["pod"]: e for e in near.ctl("endpoints")["endpoints"] if e["service"] == "shop/close-ends:80"}
    assert {(p, e["zone"], e["ready"], e["ending"], e["used"]) for p, e in shown.items()} == {
        ("shop/a", "z1", False, True, False), ("shop/b", "z1", False, False, False), ("shop/c", "z2", True, False, True)}
