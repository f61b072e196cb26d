# SPDX-License-Identifier: Apache-2.0
"""Whose routes apply to whom: producer and consumer routes, ports, and the frontend of a Service."""
import pytest

from harness import manifests as m
from harness.cgroup import Cgroup
from harness.netns import Entry
from harness.wait import wait_for

MARK = m.response_headers(set={"X-Header-Set": "set"})
WEB = m.parent("web", ns="shop")


def test_a_producer_route_is_for_everybody(world):
    world.base()
    world.route("producer", [m.rule(backends="b", filters=MARK)])
    world.start()
    for pod in (world.client, world.alien):
        r = world.fetch(pod=pod)
        assert (r.status, r.seen["pod"], r.get("X-Header-Set")) == (200, "b", "set")


def test_a_consumer_route_is_for_its_own_namespace(world):
    world.base()
    world.route("consumer", [m.rule(m.path("/only"), m.backend("b", ns="shop"), MARK)], [WEB], ns="other")
    world.start()
    r = world.fetch("/only", pod=world.alien)
    assert (r.status, r.seen["pod"], r.get("X-Header-Set")) == (200, "b", "set")
    assert world.fetch("/", pod=world.alien).status == 404, "its routes, and nothing else"
    for target in ("/only", "/"):
        r = world.fetch(target)
        assert (r.status, r.get("X-Header-Set")) == (200, None), "as if there were no route"
    assert {world.fetch().seen["pod"] for _ in range(30)} == {"a", "b", "c"}


def test_consumer_routes_hide_the_producers(world):
    world.base()
    world.route("producer", [m.rule(m.path("/p"), "a"), m.rule(m.path("/both"), "a")])
    world.route("consumer", [m.rule(m.path("/both"), m.backend("b", ns="shop"))], [WEB], ns="other")
    world.start()
    assert world.fetch("/both").seen["pod"] == "a"
    assert world.fetch("/p").seen["pod"] == "a"
    assert world.fetch("/both", pod=world.alien).seen["pod"] == "b"
    assert world.fetch("/p", pod=world.alien).status == 404


def test_when_the_consumer_route_goes_the_producers_apply(world):
    world.base()
    world.route("producer", [m.rule(backends="a")])
    world.route("consumer", [m.rule(backends=m.backend("b", ns="shop"))], [WEB], ns="other")
    world.start()
    assert world.fetch(pod=world.alien).seen["pod"] == "b"
    world.remove_route("consumer", "other")
    world.wait_answer(lambda r: r.seen["pod"] == "a", "the producer route", pod=world.alien)


def test_a_backend_in_another_namespace_needs_no_grant(world):
    world.base()
    world.add_service("theirs", [world.c], ns="other", vip=("10.96.0.40", "fd00:96::40"))
    world.route("r", [m.rule(backends=m.backend("theirs", ns="other"))])
    world.start()
    assert world.fetch().seen["pod"] == "c"


@pytest.mark.parametrize("ref", [{"port": 80}, {"section": "http"}, {"port": 80, "section": "http"}])
def test_a_route_for_one_port(world, ref):
    world.base()
    world.add_service("multi", [world.c], [m.port(80, 8080, "http"), m.port(8080, 8080, "alt")],
                      vip=("10.96.0.41", "fd00:96::41"))
    world.route("one", [m.rule(backends="a", filters=MARK)], [m.parent("multi", **ref)])
    world.route("other", [m.rule(backends="b")], [m.parent("multi", port=8080)])
    world.start()
    r = world.fetch(service="multi")
    assert (r.seen["pod"], r.get("X-Header-Set")) == ("a", "set")
    r = world.fetch(service="multi", port=8080)
    assert (r.seen["pod"], r.get("X-Header-Set")) == ("b", None)


def test_a_route_without_a_port_is_for_all_ports(world):
    world.base()
    world.add_service("multi", [world.c], [m.port(80, 8080, "http"), m.port(8080, 8080, "alt")],
                      vip=("10.96.0.41", "fd00:96::41"))
    world.route("all", [m.rule(backends="a", filters=MARK)], ["multi"])
    world.start()
    assert [world.fetch(service="multi", port=p).get("X-Header-Set") for p in (80, 8080)] == ["set", "set"]


def test_the_address_decides_and_not_the_host_header(world):
    world.base()
    world.route("b", [m.rule(backends="b", filters=MARK)], ["b"])
    world.route("c", [m.rule(backends="c")], ["c"])
    world.start()
    r = world.fetch(service="b", host="c.shop")
    assert (r.seen["pod"], r.get("X-Header-Set")) == ("b", "set")
    r = world.fetch(service="c", host="b.shop")
    assert (r.seen["pod"], r.get("X-Header-Set")) == ("c", None)


def test_routes_of_a_backend_service_are_not_applied_again(world):
    world.base()
    world.route("front", [m.rule(backends="b")])
    world.route("back", [m.rule(filters=m.redirect(hostname="example.org"))], ["b"])
    world.start()
    assert world.fetch().seen["pod"] == "b"
    assert world.fetch(service="b").status == 302


def test_one_route_on_two_services(world):
    world.base()
    world.route("two", [m.rule(backends="c", filters=MARK)], ["a", "b"])
    world.start()
    assert [world.fetch(service=s).seen["pod"] for s in "ab"] == ["c", "c"]


def test_a_parent_of_another_group_is_not_ours(world):
    world.base()
    world.route("ours", [m.rule(m.path("/ours"), "a")])
    world.route("theirs", [m.rule(m.path("/theirs"), "b")],
                [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}])
    world.start()
    assert world.fetch("/ours").status == 200
    assert world.fetch("/theirs").status == 404


def test_a_pod_that_nobody_wrote_down_gets_producer_routes(world):
    world.base()
    world.route("producer", [m.rule(backends="a")])
    world.route("consumer", [m.rule(backends=m.backend("b", ns="shop"))], [WEB], ns="other")
    stranger = world.pod("stranger", "other", written=False)
    world.start()
    assert world.fetch(pod=stranger).seen["pod"] == "a"
    world.write("stranger.yaml", m.pod(stranger))
    world.wait_answer(lambda r: r.seen["pod"] == "b", "the consumer route, once the Pod is known", pod=stranger)


def test_all_rules_invalid_fails_closed(world):
    world.base()
    world.route("bad", [m.rule(m.path("/x"), "a", [m.rewrite(prefix="/y"), m.redirect(hostname="x.example")])])
    world.route("good", [m.rule(backends="a")], ["a"])
    world.start()
    assert world.fetch("/x").status == 500
    assert world.fetch("/y").status in (404, 500)


def test_a_dropped_rule_leaves_the_others(world):
    world.base()
    world.route("mixed", [m.rule(m.regex("/bad/("), "a"), m.rule(m.path("/good"), "b")])
    world.start()
    assert world.fetch("/good").seen["pod"] == "b"
    assert world.fetch("/bad/x").status in (404, 500)
    conditions = wait_for(lambda: [r for r in world.status()["routes"] if r["name"] == "mixed"])[0]["parents"][0]["conditions"]
    assert {c["type"]: c["status"] for c in conditions}["PartiallyInvalid"] == "True"


@pytest.mark.parametrize("layout", ["pod{uid}", "kubepods-burstable-pod{slice}.slice"])
def test_pods_in_the_hosts_network_are_told_apart_by_their_cgroup(world, layout):
    """They share addresses with the node and with each other, so only the caller's cgroup can tell."""
    uid = "5f6d0b9a-58b4-4d0e-8a3c-2b1f0e9d7c61"
    world.base()
    world.write("host-pod.yaml", {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "on-the-host", "namespace": "other", "uid": uid},
        "spec": {"nodeName": "node-1", "hostNetwork": True, "containers": [{"name": "main", "image": "example/main"}]},
        "status": {"phase": "Running", "podIP": "10.77.0.1"}})
    world.route("producer", [m.rule(backends="a")])
    world.route("consumer", [m.rule(backends=m.backend("b", ns="shop"))], [WEB], ns="other")
    world.start()
    cgroup = Cgroup(layout.format(uid=uid, slice=uid.replace("-", "_")), world.fabric.cgroup)
    try:
        inside = Entry(world.fabric.node.netns, cgroup.path)
        assert world.fetch(pod=inside).seen["pod"] == "b", "the consumer route of its namespace"
        assert world.fetch(pod=world.fabric.node).seen["pod"] == "a", "a process of the node is no Pod"
        assert world.fetch(pod=inside).seen["peer"][0] == "10.77.0.1"
    finally:
        cgroup.remove()
    assert any(r.get("source_pod") == "on-the-host" for r in wait_for(world.access_records))
