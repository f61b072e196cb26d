# SPDX-License-Identifier: Apache-2.0
"""Several routes on one Service, and what becomes of routes without matches or hostnames."""
import pytest

from harness import manifests as m


def test_an_older_route_wins_over_a_younger_one(world):
    world.base()
    world.route("aaa", [m.rule(m.path("/age"), "a")], created="2026-02-02T00:00:00Z")
    world.route("zzz", [m.rule(m.path("/age"), "b")], created="2026-01-01T00:00:00Z")
    world.route("undated", [m.rule(m.path("/age"), "c")])
    world.start()
    assert world.fetch("/age").seen["pod"] == "b"


def test_of_routes_of_one_age_the_name_decides(world):
    world.base()
    world.route("beta", [m.rule(m.path("/name"), "b")], created="2026-01-01T00:00:00Z")
    world.route("alpha", [m.rule(m.path("/name"), "a")], created="2026-01-01T00:00:00Z")
    world.start()
    assert world.fetch("/name").seen["pod"] == "a"


def test_routes_merge_on_one_service(world):
    world.base()
    world.route("one", [m.rule(m.path("/one"), "a"), m.rule(m.path("/deep"), "a")])
    world.route("two", [m.rule(m.path("/two"), "b"), m.rule(m.path("/deep/er"), "b")])
    world.start()
    assert [world.fetch(t).seen["pod"] for t in ("/one", "/two", "/deep/x", "/deep/er/x")] == ["a", "b", "a", "b"]
    assert world.fetch("/three").status == 404


def test_the_first_of_two_equal_rules_wins_even_if_its_backend_does_not_exist(world):
    world.base()
    world.route("equal", [m.rule(m.path("/e"), "nobody"), m.rule(m.path("/e"), "a")])
    world.start()
    assert world.fetch("/e").status == 500


def test_a_route_without_matches_takes_everything(world):
    world.base()
    world.route("all", [m.rule(backends="b")])
    world.start()
    assert [world.fetch(t).seen["pod"] for t in ("/", "/x/y?z")] == ["b", "b"]
    assert world.fetch("*", method="OPTIONS").seen["target"] == "*"


def test_hostnames_of_a_route_mean_nothing_in_a_mesh(world):
    world.base()
    world.route("hosts", [m.rule(backends="b")], hostnames=["elsewhere.example"])
    world.start()
    assert world.fetch(host="web").seen["pod"] == "b"


@pytest.mark.parametrize("family", [4, 6])
def test_a_service_of_one_family(world, family):
    world.base()
    world.vips["single"] = ("10.96.0.49", "fd00:96::49")
    world.write("single.yaml", [m.service("single", world.vips["single"][0 if family == 4 else 1]),
                                m.endpoint_slice("single", [world.c], family=family)])
    world.route("single", [m.rule(m.path("/x"), "single")], ["single"])
    world.start()
    r = world.fetch("/x", "single", family=family)
    assert (r.status, r.seen["pod"]) == (200, "c")
    assert r.seen["peer"][0] == (world.client.v4 if family == 4 else world.client.v6)
    assert world.fetch("/y", "single", family=family).status == 404


def test_thousands_of_matches_are_all_found(world):
    world.base()
    for i in range(40):
        world.route(f"many{i}", [m.rule([m.exact(f"/p/{i}/{j}/{k}") for k in range(64)], "abc"[j % 3])
                                 for j in range(2)], created="2026-01-01T00:00:00Z")
    world.route("last", [m.rule(m.path("/"), "c")])
    world.start()
    assert [world.fetch(t).seen["pod"] for t in ("/p/0/0/0", "/p/39/1/63", "/p/39/1/64")] == ["a", "b", "c"]
