# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API as the source of configuration and the place for conditions: with etcd and kube-apiserver."""
import signal
import time

import pytest

import policies
from server import Server
from sluice_lab.api import Api
from sluice_lab.client import Refused
from sluice_lab.store import Store

from harness import manifests as m
from harness.wait import hold_for, wait_for
from test_kube_source import (  # noqa: F401  (cases that hold for this server too)
    goes_to, route_to, start, test_after_a_restart_what_is_pinned_serves_until_the_cluster_was_read,
    test_routes_of_the_cluster_are_enforced_and_follow_changes,
    test_without_the_server_the_last_configuration_is_served)
from test_kube_status import OURS, conditions, lease_of, parents, wait_condition

N_ROUTES = 5000


@pytest.fixture(scope="module")
def server(fabric):
    api = Api(Store.open(), fabric.folder + "/api", namespace=fabric.node.netns, options=(
        "--service-cluster-ip-range=10.96.0.0/24,fd00:96::/112", "--endpoint-reconciler-type=none",
        # There is nobody to make the accounts that it asks for.
        "--disable-admission-plugins=ServiceAccount"))
    try:
        server = Server(api.start())
        api.install_crds()
        server.apply(m.namespace("shop"), m.namespace("other"))
        yield server
    finally:
        api.close()


@pytest.fixture
def api(server, world):
    server.apply(*[m.pod(p) for p in world.pods.values()])
    for name, pods in (("web", [world.a, world.b, world.c]), ("a", [world.a]), ("b", [world.b])):
        server.apply(*world.service_objects(name, pods))
    yield server
    server.clear("shop", "other")


def seen_routes(world):
    return sorted(r["name"] for r in world.ctl("routes")["routes"])


def version_of(api, name):
    return api.get("HTTPRoute", "shop", name)["metadata"]["resourceVersion"]


def entry_of(controller, generation=1):
    return {"parentRef": {"name": "web", "group": "", "kind": "Service"}, "controllerName": controller,
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                            "observedGeneration": generation, "lastTransitionTime": "2020-01-01T00:00:00Z"}]}


# the source


def test_watches_go_on_behind_a_restart_of_the_server(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.restart()
    api.apply(route_to("r", "b"))
    goes_to(world, world.b, 40)
    wait_for(lambda: world.ctl("status")["config"]["errors"] == [], 40, what="no problem to be left")


def test_a_compacted_history_is_listed_anew(world, api):
    """The agent sleeps while a route goes, and its server comes back knowing nothing of that time."""
    api.apply(route_to("r", "a"), route_to("gone", "a", parents=[m.parent("a")]))
    agent = start(world, api)
    goes_to(world, world.a)
    agent.freeze()
    api.delete("HTTPRoute", "shop", "gone")
    api.apply(route_to("r", "b"))
    api.api.compact()
    api.restart()
    agent.thaw()
    goes_to(world, world.b, 40)
    wait_for(lambda: seen_routes(world) == ["r"], 40, what="the other route to go")


def test_a_crd_that_comes_later(world, api):
    crd = "httproutes.gateway.networking.k8s.io"
    api.delete("CustomResourceDefinition", None, crd)

    def absent():
        try:
            api.get("CustomResourceDefinition", None, crd)
        except Refused as e:
            return e.status == 404
    wait_for(absent, 20, what="the CRD to go")
    agent = start(world, api, wait=False)
    agent.wait_log("configuration in force", 20)
    api.api.install_crds(only="_httproutes")
    wait_for(lambda: api.client.list("HTTPRoute", "shop") == [], 20, what="the CRD to be served")
    api.apply(route_to("r", "a"))
    goes_to(world, world.a, 30)


def serve(api, name, **served):
    """Whether the CRD's versions are served; the others stay as they are."""
    crd = api.get("CustomResourceDefinition", None, name)
    versions = [{**v, "served": served.get(v["name"], v["served"])} for v in crd["spec"]["versions"]]
    api.client.patch("CustomResourceDefinition", None, name, {"spec": {"versions": versions}})


def test_a_version_that_is_served_no_more(world, api):
    crd, beta = "httproutes.gateway.networking.k8s.io", "/apis/gateway.networking.k8s.io/v1beta1/namespaces/shop/httproutes/r"
    api.apply(route_to("r", "a"))
    agent = start(world, api)
    goes_to(world, world.a)
    serve(api, crd, v1=False)
    try:
        agent.wait_log("reading another version .*kind=HTTPRoute from=.*/v1 to=.*/v1beta1", 40)
        assert seen_routes(world) == ["r"]
        api.client.request("PATCH", beta, {"spec": route_to("r", "b")["spec"]}, "application/merge-patch+json")
        goes_to(world, world.b, 40)

        def written():
            entry, = api.client.request("GET", beta)["status"]["parents"]
            return {c["observedGeneration"] for c in entry["conditions"]} == {2}
        wait_for(written, 20, what="the conditions to follow")
    finally:
        serve(api, crd, v1=True)
    # The better one is back: seen in a minute, or at once when somebody says so.
    wait_for(lambda: api.client.list("HTTPRoute", "shop"), 20, what="the version to be served")

    def moved():
        agent.signal(signal.SIGHUP)
        return "to=gateway.networking.k8s.io/v1\n" in agent.log()
    wait_for(moved, 20, 0.5, what="the better version to be read")
    api.apply(route_to("r", "a"))
    goes_to(world, world.a)


def test_five_thousand_routes(world, api):
    """All of one Service, each with a path of its own, beside the one that is asked for."""
    api.plant([m.route(f"r{i}", [m.rule(m.path(f"/r/{i}"), "b")], ns="shop") for i in range(N_ROUTES)])
    try:
        api.apply(route_to("last", "a"))
        begin = time.monotonic()
        agent = start(world, api, wait=False)
        wait_for(lambda: world.ctl("status")["config"]["objects"] > N_ROUTES, 60, what="all objects to be read")
        goes_to(world, world.a)
        took = time.monotonic() - begin
        world.wait_answer(lambda r: r.seen["pod"] == "b", "the rule of the last one", target=f"/r/{N_ROUTES - 1}")
        begin = time.monotonic()
        api.apply(route_to("last", "b"))
        goes_to(world, world.b)
        change = time.monotonic() - begin
        print(f"{N_ROUTES} routes are served after {took:.2f} s, a change after {change * 1000:.0f} ms, "
              f"{agent.rss_bytes() >> 20} MiB")
    finally:
        api.uproot("shop")


# conditions


def test_conditions_are_written_and_follow_changes(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    first = wait_condition(api, "r", "Accepted", "True")
    assert wait_condition(api, "r", "ResolvedRefs", "True")["reason"] == "ResolvedRefs"
    assert parents(api, "r")[0]["parentRef"]["name"] == "web"
    api.apply(route_to("r", "nope"))
    assert wait_condition(api, "r", "ResolvedRefs", "False", 2)["reason"] == "BackendNotFound"
    assert wait_condition(api, "r", "Accepted", "True", 2)["lastTransitionTime"] == first["lastTransitionTime"]


def test_nothing_is_written_without_a_change(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    wait_condition(api, "r", "ResolvedRefs", "True")
    before = version_of(api, "r")
    hold_for(lambda: version_of(api, "r") == before, 1, 0.1, "the route's version")


def test_entries_of_others_stay_as_they_are(world, api):
    theirs = entry_of("other.example/mesh")
    api.apply({**route_to("r", "a"), "status": {"parents": [theirs]}})
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    assert theirs in parents(api, "r") and len(parents(api, "r")) == 2


def test_who_writes_at_the_same_time_loses_nothing(world, api):
    """Another controller writes its entry again and again, as a whole list, with the version that it read."""
    api.apply(route_to("r", "a"))
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    conflicts = 0
    for n in range(1, 21):
        api.apply(route_to("r", "ab"[n % 2]))
        while True:
            r = api.get("HTTPRoute", "shop", "r")
            others = [p for p in r["status"]["parents"] if p["controllerName"] == OURS]
            try:
                api.client.patch("HTTPRoute", "shop", "r", {
                    "metadata": {"resourceVersion": r["metadata"]["resourceVersion"]},
                    "status": {"parents": [*others, entry_of("other.example/mesh", n)]}}, "status")
                break
            except Refused as e:
                assert e.status == 409, e
                conflicts += 1
    generation = api.get("HTTPRoute", "shop", "r")["metadata"]["generation"]
    wait_condition(api, "r", "Accepted", "True", generation)
    theirs, = [p for p in parents(api, "r") if p["controllerName"] != OURS]
    assert theirs == entry_of("other.example/mesh", 20)
    print(f"the other one had {conflicts} conflicts")


def test_the_lease_goes_from_hand_to_hand(world, api):
    api.apply(route_to("r", "a"))
    agent = start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    assert api.lease()["spec"]["holderIdentity"].endswith(f"_{agent.pid}")
    agent.stop()
    assert api.lease()["spec"]["holderIdentity"] == ""
    # Somebody has it, and then is not heard of any more.
    api.put_lease(lease_of("another"))
    api.apply(route_to("r", "b"))
    start(world, api)
    goes_to(world, world.b)
    assert conditions(api, "r")["Accepted"]["observedGeneration"] == 1
    wait_condition(api, "r", "Accepted", "True", 2)
    assert api.lease()["spec"]["holderIdentity"].endswith(f"_{world.agent.pid}")


# schemas


@pytest.fixture(scope="module")
def crds(server):
    server.api.install(*policies.CRDS)
    return server


def refusal(server, obj):
    """What the server says of it, or None."""
    try:
        server.client.try_create(obj)
    except Refused as e:
        assert e.status in (400, 422), e
        return e.body["message"]
    return None


def test_the_schemas_refuse_what_is_wrong_and_say_why(crds):
    wrong = []
    for good, fields, message in policies.TABLE:
        said = refusal(crds, policies.case(good, fields))
        if bool(said) != bool(message) or (message and message not in said):
            wrong.append((good["kind"], fields, message, said))
    assert wrong == []


def test_each_rule_of_the_schemas_has_a_case():
    cases = [(good["kind"], message) for good, _, message in policies.TABLE if message]
    assert [(kind, rule) for kind, rule in policies.rules() if not any(k == kind and text in rule for k, text in cases)] == []


def test_the_schemas_accept_what_the_documents_show(crds):
    examples = policies.examples()
    assert {"TrafficPolicy", "FaultInjection", "HTTPRoute"} <= {obj["kind"] for _, obj in examples}
    for namespace in {obj["metadata"]["namespace"] for _, obj in examples}:
        crds.apply(m.namespace(namespace))
    refused = [(file, obj["kind"], obj["metadata"]["name"], said)
               for file, obj in examples if (said := refusal(crds, obj))]
    assert refused == []
