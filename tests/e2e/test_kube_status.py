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
