# SPDX-License-Identifier: Apache-2.0
"""Conditions of routes at the API server: whose entries, when they are written, and by whom in the cluster."""
import time

import pytest

from harness import manifests as m
from harness.kube_api import Api
from harness.wait import hold_for, wait_for

OURS = "sluice.dev/mesh"


@pytest.fixture
def api(world, fabric):
    api = Api(fabric.node, world.folder)
    api.apply(m.namespace("shop"), *world.service_objects("web", [world.a]))
    api.start()
    yield api
    api.stop()


def start(world, api, **options):
    return world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self", **options)


def route(name, backend="web", generation=1, **kw):
    r = m.route(name, [m.rule(backends=[m.backend(backend)])], **kw)
    r["metadata"]["generation"] = generation
    return r


def parents(api, name):
    return api.get("HTTPRoute", "shop", name).get("status", {}).get("parents", [])


def conditions(api, name):
    """Of our only entry: {type: condition}."""
    ours = [p for p in parents(api, name) if p["controllerName"] == OURS]
    return {c["type"]: c for c in ours[0]["conditions"]} if ours else {}


def wait_condition(api, name, kind, status, generation=1):
    def check():
        c = conditions(api, name).get(kind)
        return c and c["status"] == status and c["observedGeneration"] == generation and c
    return wait_for(check, what=f"{kind}={status} of {name}, generation {generation}", timeout=20)


def test_conditions_are_written_and_follow_changes(world, api):
    api.apply(route("r"))
    start(world, api)
    first = wait_condition(api, "r", "Accepted", "True")
    assert wait_condition(api, "r", "ResolvedRefs", "True")["reason"] == "ResolvedRefs"
    assert parents(api, "r")[0]["parentRef"] == api.get("HTTPRoute", "shop", "r")["spec"]["parentRefs"][0]
    changed = route("r", backend="nope", generation=2)
    changed["status"] = {"parents": parents(api, "r")}
    api.apply(changed)
    assert wait_condition(api, "r", "ResolvedRefs", "False", 2)["reason"] == "BackendNotFound"
    accepted = wait_condition(api, "r", "Accepted", "True", 2)
    assert accepted["lastTransitionTime"] == first["lastTransitionTime"]
    assert [s for _, _, s in api.patches].count(200) == 2


def test_nothing_is_written_without_a_change(world, api):
    api.apply(*[route(f"r{i}") for i in range(20)])
    start(world, api)
    for i in range(20):
        wait_condition(api, f"r{i}", "Accepted", "True")
    n = len(api.patches)
    assert n == 20
    hold_for(lambda: len(api.patches) == n, 1, what="no more writes")
    world.agent.stop()
    start(world, api)
    wait_for(lambda: (api.lease() or {}).get("spec", {}).get("holderIdentity"), what="a leader")
    hold_for(lambda: len(api.patches) == n, 1, what="no writes after a restart")


def test_entries_of_others_stay_as_they_are(world, api):
    theirs = {"parentRef": {"name": "gone", "group": "", "kind": "Service"}, "controllerName": "other.example/mesh",
              "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                              "observedGeneration": 1, "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
    r = route("r", generation=2)
    r["status"] = {"parents": [theirs], "other": {"kept": True}}
    api.apply(r)
    start(world, api)
    wait_condition(api, "r", "Accepted", "True", 2)
    status = api.get("HTTPRoute", "shop", "r")["status"]
    assert status["parents"][0] == theirs and len(status["parents"]) == 2
    assert status["other"] == {"kept": True}


def test_an_entry_whose_parent_is_not_named_any_more_goes(world, api):
    api.apply(*world.service_objects("b", [world.b]))
    api.apply(route("r", parents=[m.parent("web"), m.parent("b")]))
    start(world, api)
    wait_for(lambda: len(parents(api, "r")) == 2, what="two entries")
    changed = route("r", generation=2, parents=[m.parent("b")])
    changed["status"] = {"parents": parents(api, "r")}
    api.apply(changed)
    wait_for(lambda: [p["parentRef"]["name"] for p in parents(api, "r")] == ["b"], what="one entry")


def test_what_somebody_takes_away_is_written_again(world, api):
    api.apply(route("r"))
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    api.apply(route("r"))
    wait_condition(api, "r", "Accepted", "True")


@pytest.mark.parametrize("fault", [409, 500, 503, 429])
def test_a_write_that_fails_is_tried_again(world, api, fault):
    api.patch_faults = [fault] * 2
    api.apply(route("r"))
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    assert [s for _, _, s in api.patches] == [fault, fault, 200]


def test_a_conflict_is_tried_again_with_the_newer_version(world, api):
    """Somebody else writes in the very moment: its change is kept."""
    api.apply(route("r"))
    theirs = {"parentRef": {"name": "gone"}, "controllerName": "other.example/mesh", "conditions": []}

    def interfere(obj):
        obj["status"] = {"parents": [theirs]}
        api.apply(obj)
    api.before_patch = interfere
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    assert [s for _, _, s in api.patches] == [409, 200]
    assert parents(api, "r")[0] == theirs


def test_a_later_generation_is_not_written_over(world, api):
    r = route("r", generation=1)
    r["status"] = {"parents": [{"parentRef": r["spec"]["parentRefs"][0], "controllerName": OURS, "conditions": [
        {"type": "Accepted", "status": "False", "reason": "X", "message": "", "observedGeneration": 7,
         "lastTransitionTime": "2020-01-01T00:00:00Z"}]}]}
    api.apply(r)
    start(world, api)
    wait_for(lambda: (api.lease() or {}).get("spec", {}).get("holderIdentity"), what="a leader")
    hold_for(lambda: not api.patches, 1, what="no writes")


def lease_of(holder, transitions=3):
    return {"holderIdentity": holder, "leaseDurationSeconds": 6, "leaseTransitions": transitions,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"}


def test_only_the_holder_of_the_lease_writes(world, api):
    api.apply(route("r"))
    api.put_lease(lease_of("another"))
    start(world, api)
    end = time.monotonic() + 8  # longer than a lease lasts
    while time.monotonic() < end:
        api.put_lease(lease_of("another"))  # renewed
        hold_for(lambda: not api.patches and api.lease()["spec"]["holderIdentity"] == "another", 0.5)
    # It is not renewed any more: taken over within seconds.
    wait_condition(api, "r", "Accepted", "True")
    assert api.lease()["spec"]["leaseTransitions"] == 4


def test_a_lease_that_was_given_back_is_taken_at_once(world, api):
    api.apply(route("r"))
    api.put_lease(lease_of(""))
    begin = time.monotonic()
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    assert api.lease()["spec"]["holderIdentity"]
    world.agent.stop()
    assert api.lease()["spec"]["holderIdentity"] == ""
    assert time.monotonic() - begin < 60  # the harness's own limit; what it took is in the log


@pytest.mark.parametrize("how", ["taken", "unreachable"])
def test_who_loses_the_lease_writes_no_more(world, api, how):
    api.apply(route("r"))
    agent = start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    if how == "taken":
        api.put_lease(lease_of("another"))
    else:
        api.lease_fault = 500
    agent.wait_log("writes the routes' status no more")
    n = len(api.patches)
    api.apply(route("r2"))
    wait_for(lambda: len(world.ctl("routes")["routes"]) == 2, what="the second route")
    hold_for(lambda: len(api.patches) == n, 1, what="no writes")
    if how == "unreachable":
        api.lease_fault = None
        wait_condition(api, "r2", "Accepted", "True")


# the XMesh

def mesh(api, name="sluice"):
    try:
        return api.get("XMesh", "", name)
    except KeyError:
        return None


def accepted(api, name="sluice"):
    found = {c["type"]: c for c in (mesh(api, name) or {}).get("status", {}).get("conditions", [])}
    return found.get("Accepted", {}).get("status")


def own_mesh(controller=OURS, **spec):
    return {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XMesh",
            "metadata": {"name": "sluice", "generation": 3}, "spec": {"controllerName": controller, **spec}}


def test_the_mesh_is_made_claimed_and_made_again(world, api):
    api.absent.clear()
    start(world, api)
    wait_for(lambda: accepted(api) == "True", what="the mesh", timeout=20)
    assert api.created[0]["spec"] == {"controllerName": OURS}
    names = [f["name"] for f in mesh(api)["status"]["supportedFeatures"]]
    assert names == sorted(names) and "MeshConsumerRoute" in names
    api.delete("XMesh", "", "sluice")
    wait_for(lambda: accepted(api) == "True", what="the mesh to come again")
    n = (len(api.created), len(api.patches))
    hold_for(lambda: (len(api.created), len(api.patches)) == n, 0.5, what="no more writes")
    assert n == (2, 2)


def test_a_mesh_that_is_there_is_given_a_status_alone(world, api):
    api.absent.clear()
    theirs = own_mesh(description="mine")
    api.apply(theirs)
    api.patch_faults = [409, 500]
    start(world, api)
    wait_for(lambda: accepted(api) == "True", what="the status", timeout=20)
    assert mesh(api)["spec"] == theirs["spec"] and api.created == []
    assert mesh(api)["status"]["conditions"][0]["observedGeneration"] == 3
    changed = mesh(api)
    changed["spec"]["parametersRef"] = {"group": "g", "kind": "K", "name": "n"}
    changed["metadata"]["generation"] = 4
    api.apply(changed)
    wait_for(lambda: accepted(api) == "False", what="the parameters to be refused")


def test_another_controller_s_mesh_is_left_alone(world, api):
    api.absent.clear()
    api.apply(own_mesh("other.example/mesh"), route("r"))
    agent = start(world, api)
    agent.wait_log("the mesh is another controller's")
    wait_condition(api, "r", "Accepted", "True")
    assert "status" not in mesh(api) and api.created == []


def test_a_mesh_of_another_name_or_none(world, api):
    api.absent.clear()
    start(world, api, mesh_name="ours")
    wait_for(lambda: accepted(api, "ours") == "True", what="the mesh", timeout=20)
    world.agent.stop()
    api.apply(route("r"))
    start(world, api, mesh_name="")
    wait_condition(api, "r", "Accepted", "True")
    assert mesh(api) is None


def test_the_mesh_s_crd_may_come_later(world, api):
    api.apply(route("r"))
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    api.absent.clear()
    wait_for(lambda: accepted(api) == "True", what="the mesh", timeout=20)


# Events

def events(api, name):
    return [e for e in api.events.values() if e["regarding"]["name"] == name]


def test_what_is_wrong_with_a_route_is_an_event(world, api):
    api.apply(route("bad", backend="nope"), route("good"))
    start(world, api)
    wait_condition(api, "bad", "ResolvedRefs", "False")
    event = wait_for(lambda: events(api, "bad"), what="the event")[0]
    assert event["regarding"] == {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "namespace": "shop",
                                  "name": "bad", "uid": api.get("HTTPRoute", "shop", "bad")["metadata"]["uid"]}
    assert (event["reason"], event["type"], event["reportingController"]) == ("BackendNotFound", "Warning", OURS)
    assert "nope" in event["note"] and event["eventTime"].endswith("Z") and event["action"]
    changed = route("bad", backend="nope", generation=2)
    changed["status"] = {"parents": parents(api, "bad")}
    changed["spec"]["rules"].append(m.rule(matches=[m.path("/x")], backends=[m.backend("web")]))
    api.apply(changed)
    wait_condition(api, "bad", "Accepted", "True", 2)
    wait_condition(api, "good", "Accepted", "True")
    hold_for(lambda: len(api.events) == 1, 0.5, what="no event for what was said or is well")


def test_an_invalid_object_is_an_event(world, api):
    api.apply(route("r"))
    start(world, api)
    wait_condition(api, "r", "Accepted", "True")
    broken = route("r", generation=2)
    broken["metadata"]["uid"] = api.get("HTTPRoute", "shop", "r")["metadata"]["uid"]
    broken["spec"]["parentRefs"] = "none"
    api.apply(broken)
    event = wait_for(lambda: events(api, "r"), what="the event")[0]
    assert event["reason"] == "Invalid" and event["note"].startswith("spec.parentRefs: ")
    assert event["note"].endswith("stays in force")


def test_many_events_are_limited_and_a_failure_is_let_be(world, api):
    api.apply(*[route(f"r{i:02}", backend="nope") for i in range(40)])
    agent = start(world, api)
    for i in range(40):
        wait_condition(api, f"r{i:02}", "ResolvedRefs", "False")
    agent.wait_log("too many events")
    assert 25 <= len(api.events) < 40
    api.event_fault = 403
    late = iter(range(1000))

    def refused():  # one a second is allowed
        api.apply(route(f"late{next(late)}", backend="nope"))
        return "status=403" in agent.log()
    wait_for(refused, what="an event to be refused")
    wait_condition(api, "late0", "ResolvedRefs", "False")


def test_a_policy_has_ancestors(world, api):
    """PolicyStatus names them so; entries of others stay."""
    policy = m.retry_budget("budget", ["web", "missing"])
    policy["metadata"]["generation"] = 3
    foreign = {"ancestorRef": {"kind": "Gateway", "name": "edge"}, "controllerName": "other.example/x",
               "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                               "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    api.apply({**policy, "status": {"ancestors": [foreign]}})
    start(world, api)

    def told():
        entries = api.get("XBackendTrafficPolicy", "shop", "budget").get("status", {}).get("ancestors", [])
        return entries if len(entries) == 3 else None
    entries = wait_for(told, 20)
    assert entries[0] == foreign
    assert {e["ancestorRef"]["name"]: (e["controllerName"], e["conditions"][0]["reason"],
                                       e["conditions"][0]["observedGeneration"]) for e in entries[1:]} == {
        "web": (OURS, "Accepted", 3), "missing": (OURS, "TargetNotFound", 3)}


def test_policies_have_ancestors_beside_those_of_others(world, api):
    theirs = {"ancestorRef": {"group": "", "kind": "Service", "name": "web"}, "controllerName": "example.org/other",
              "conditions": []}
    policy = m.policy("p", ["web", "nothing"], loadBalancer={"type": "LeastRequest"})
    policy["metadata"]["generation"] = 3
    policy["status"] = {"ancestors": [theirs]}
    api.apply(policy)
    start(world, api)

    def ancestors():
        return api.get("TrafficPolicy", "shop", "p")["status"]["ancestors"]
    wait_for(lambda: len(ancestors()) == 3, what="an entry for each target")
    assert ancestors()[0] == theirs
    ours = {a["ancestorRef"]["name"]: a for a in ancestors()[1:]}
    assert all(a["controllerName"] == OURS and "parentRef" not in a for a in ours.values())
    assert {name: (c["type"], c["status"], c["reason"], c["observedGeneration"])
            for name, a in ours.items() for c in a["conditions"]} == {
        "web": ("Accepted", "True", "Accepted", 3), "nothing": ("Accepted", "False", "TargetNotFound", 3)}
    written = len(api.patches)
    api.apply(m.route("later", [m.rule(backends="web")]))
    wait_for(lambda: any(name == "later" for name, _, _ in api.patches), what="the route's status")
    assert not [name for name, _, _ in api.patches[written:] if name == "p"], "nothing changed for it"


def test_faults_of_a_route_have_ancestors(world, api):
    """The server's creationTimestamp stands for startsAt."""
    policy = m.faults("f", ("HTTPRoute", "r"), {"abort": {"percent": 100, "httpStatus": 418}})
    policy["metadata"].update(generation=2, creationTimestamp=policy["spec"].pop("startsAt"))
    api.apply(m.route("r", [m.rule(backends="web")]))
    api.apply(policy)
    start(world, api)
    wait_for(lambda: world.fetch().status == 418, what="the fault")
    entries = wait_for(lambda: api.get("FaultInjection", "shop", "f").get("status", {}).get("ancestors"))
    assert [(e["ancestorRef"]["kind"], e["ancestorRef"]["name"], e["controllerName"], e["conditions"][0]["reason"],
             e["conditions"][0]["observedGeneration"]) for e in entries] == [("HTTPRoute", "r", OURS, "Accepted", 2)]
    api.delete("FaultInjection", "shop", "f")
    wait_for(lambda: world.fetch().status == 200, what="no fault")
