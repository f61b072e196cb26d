# SPDX-License-Identifier: Apache-2.0
"""The folder of manifests: edits applied live, and mistakes that cost only what is mistaken."""
import json
import os
import signal
import time

import pytest

from harness import manifests as m, rawhttp
from harness.agent import memory_budget
from harness.wait import hold_for, scaled, wait_for


def problems(world):
    config = world.ctl("status")["config"]
    return [dict(p, severity=s[:-1]) for s in ("errors", "warnings") for p in config[s]]


def problem(world, **expected):
    """The one problem whose fields contain these texts."""
    def found():
        return [p for p in problems(world)
                if all(text in str(p.get(field, "")) for field, text in expected.items())]
    return wait_for(found, what=f"a problem with {expected}")[0]


def pod_is(name):
    return lambda r: r.status == 200 and r.seen["pod"] == name


def test_an_edit_is_live_within_a_second(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    assert world.fetch().seen["pod"] == "a"
    world.route("r", [m.rule(backends="b")])
    begin = time.monotonic()
    world.wait_answer(pod_is("b"), "the edit")
    assert time.monotonic() - begin < scaled(1)


def test_an_edit_reaches_open_connections(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            task.report(c.request().seen["pod"])
            task.wait_stop()
            return c.request().seen["pod"]
    task = world.spawn(world.client, run)
    assert task.next_report() == "a"
    world.route("r", [m.rule(backends="b")])
    world.wait_answer(pod_is("b"), "the edit")
    assert task.stop_and_result() == "b"


def test_routes_and_services_may_come_in_any_order(world):
    world.start()
    world.route("r", [m.rule(backends="b")])
    world.base()
    world.wait_answer(pod_is("b"), "the Service")


def test_a_removed_file_takes_its_objects_along(world):
    world.base()
    world.route("one", [m.rule(m.path("/one"), "a")])
    world.route("two", [m.rule(m.path("/two"), "b")])
    world.start()
    assert world.fetch("/one").status == 200
    world.remove_route("one")
    world.wait_answer(lambda r: r.status == 404, "the route to go", target="/one")
    assert world.fetch("/two").status == 200


def test_malformed_yaml_keeps_what_the_file_gave_last(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    world.write_text("route-shop-r.yaml", "kind: HTTPRoute\n  bad: [indent\n")
    p = problem(world, file="route-shop-r.yaml")
    assert p["severity"] == "error" and p["line"] > 0, p
    assert world.fetch().seen["pod"] == "a"
    world.route("r", [m.rule(backends="b")])
    world.wait_answer(pod_is("b"), "the mended file")
    assert problems(world) == []


def test_malformed_yaml_touches_no_other_file(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.write_text("broken.yaml", "{{{{\n")
    world.start()
    assert world.fetch().seen["pod"] == "a"
    assert problem(world, file="broken.yaml")["severity"] == "error"


def test_a_malformed_document_costs_no_earlier_one(world):
    world.base()
    good = m.documents([m.route("r", [m.rule(backends="a")])])
    world.write_text("two.yaml", good + "---\n\tnot: yaml\n")
    world.start()
    problem(world, file="two.yaml")
    # A file that never parsed as a whole gave nothing; nor does it break anything.
    assert world.ctl("status")


def test_an_unknown_field_is_reported_with_its_place(world):
    world.base()
    route = m.route("r", [m.rule(m.path("/"), "a")])
    route["spec"]["rules"][0]["matchs"] = []
    world.write("r.yaml", route)
    world.start()
    p = problem(world, file="r.yaml", field="matchs")
    assert "shop/r" in p["object"] and p["line"] > 0


@pytest.mark.parametrize("change, field", [
    (lambda s: s["rules"][0]["matches"][0]["path"].update(value="no-slash"), "rules[0].matches[0].path.value"),
    (lambda s: s["rules"][0]["matches"][0]["path"].update(type="Glob"), "rules[0].matches[0].path.type"),
    (lambda s: s["rules"][0]["backendRefs"][0].update(weight=-1), "rules[0].backendRefs[0].weight"),
    (lambda s: s["rules"][0]["backendRefs"][0].update(port="eighty"), "rules[0].backendRefs[0].port"),
    (lambda s: s["rules"][0].update(timeouts={"request": "1.5h"}), "rules[0].timeouts.request"),
    (lambda s: s["rules"][0].update(filters=[{"type": "RequestRedirect"}]), "rules[0].filters[0]"),
    (lambda s: s.update(rules="none"), "rules"),
], ids=["path", "path type", "weight", "port", "duration", "filter", "rules"])
def test_a_bad_value_is_reported_and_costs_nothing_else(world, change, field):
    world.base()
    world.route("good", [m.rule(m.path("/good"), "b")])
    bad = m.route("bad", [m.rule(m.path("/bad"), "a")])
    change(bad["spec"])
    world.write("bad.yaml", bad)
    world.start()
    assert world.fetch("/good").seen["pod"] == "b"
    assert world.fetch("/bad").status in (404, 500)

    def told():
        """Either a problem of the folder or a condition of the route says which field."""
        text = str(problems(world)) + str(world.ctl("routes"))
        return field in text
    wait_for(told, what=f"{field} to be named")


def test_an_object_that_turns_bad_keeps_its_last_good_version(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    bad = m.route("r", [m.rule(backends="b")])
    bad["spec"]["parentRefs"] = "web"
    world.write("route-shop-r.yaml", bad)
    problem(world, file="route-shop-r.yaml")
    assert world.fetch().seen["pod"] == "a"


def test_the_same_object_in_two_files(world):
    world.base()
    world.write("1-first.yaml", m.route("r", [m.rule(backends="a")]))
    world.write("2-second.yaml", m.route("r", [m.rule(backends="b")]))
    world.start()
    assert world.fetch().seen["pod"] == "a", "the first by file name counts"
    assert problem(world, file="2-second.yaml")["severity"] == "error"
    world.remove("1-first.yaml")
    world.wait_answer(pod_is("b"), "the second file")


def test_json_lists_subfolders_and_ignored_names(world):
    world.base()
    os.mkdir(os.path.join(world.config, "sub"))
    with open(os.path.join(world.config, "sub", "one.yaml"), "w") as f:
        f.write(m.documents([m.route("one", [m.rule(m.path("/one"), "a")])]))
    world.write_text("two.json", json.dumps(m.route("two", [m.rule(m.path("/two"), "b")])))
    world.write_text("list.yml", m.documents([{"apiVersion": "v1", "kind": "List", "items": [
        m.route("three", [m.rule(m.path("/three"), "c")])]}]))
    world.write_text("notes.txt", "not: [yaml")
    world.write_text(".hidden.yaml", "not: [yaml")
    world.start()
    assert [world.fetch(t).seen["pod"] for t in ("/one", "/two", "/three")] == ["a", "b", "c"]
    assert problems(world) == []


def test_other_kinds_are_ignored(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.write("others.yaml", [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}])
    world.start()
    assert world.fetch().seen["pod"] == "a"
    assert [p for p in problems(world) if p["severity"] == "error"] == []


def test_a_folder_swapped_by_a_link_as_kubernetes_mounts_it(world):
    """A ConfigMap volume: files are links into a hidden folder that is exchanged at once."""
    world.base()
    for version, pod in (("v1", "a"), ("v2", "b")):
        folder = os.path.join(world.folder, version)
        os.mkdir(folder)
        with open(os.path.join(folder, "route.yaml"), "w") as f:
            f.write(m.documents([m.route("r", [m.rule(backends=pod)])]))
    os.symlink(os.path.join(world.folder, "v1"), os.path.join(world.config, "..data"))
    os.symlink("..data/route.yaml", os.path.join(world.config, "route.yaml"))
    world.start()
    assert world.fetch().seen["pod"] == "a"
    os.symlink(os.path.join(world.folder, "v2"), os.path.join(world.config, "..tmp"))
    os.rename(os.path.join(world.config, "..tmp"), os.path.join(world.config, "..data"))
    world.wait_answer(pod_is("b"), "the new version")


def test_sighup_loads_again_and_opens_the_access_log_anew(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    world.fetch("/before")
    wait_for(lambda: any(r["path"] == "/before" for r in world.access_records()))
    os.rename(world.access_log, world.access_log + ".1")
    world.agent.signal(signal.SIGHUP)
    wait_for(lambda: os.path.exists(world.access_log), what="the new access log")
    world.fetch("/after")
    wait_for(lambda: [r["path"] for r in world.access_records()] == ["/after"])


def test_hundreds_of_edits_lose_no_request(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    task = world.load(keep_alive=True)
    for i in range(100):
        world.route("r", [m.rule(m.path("/"), "ab"[i % 2], m.request_headers(set={"X-Version": str(i)}))])
    wait_for(lambda: world.fetch().seen.get_header("x-version") == "99", what="the last edit")
    result = task.stop_and_result()
    assert result.errors == [] and set(result.statuses) == {200}, result


def test_the_agent_does_not_grow_with_edits(world):
    world.base()
    world.route("r", [m.rule(m.exact(f"/{i}"), "a") for i in range(16)])
    world.start()

    def edit(n):
        for i in range(n):
            world.route("r", [m.rule(m.exact(f"/{i}-{j}"), "a") for j in range(16)])
            wait_for(lambda i=i: world.fetch(f"/{i}-0").status == 200)
    edit(10)
    before = world.agent.rss_bytes(), world.agent.n_fds()
    edit(30)
    after = world.agent.rss_bytes(), world.agent.n_fds()
    assert after[1] <= before[1] + 2, "descriptors"
    assert after[0] < before[0] + memory_budget(16 << 20), "memory"


def test_creation_timestamps_and_generation_reach_the_status(world):
    world.base()
    route = m.route("r", [m.rule(backends="a")], created="2026-01-01T00:00:00Z")
    route["metadata"]["generation"] = 7
    world.write("r.yaml", route)
    world.start()

    def written():
        parents = [r for r in world.status()["routes"] if r["name"] == "r"][0]["parents"]
        return parents[0]["conditions"]
    conditions = wait_for(written)
    assert {c["observedGeneration"] for c in conditions} == {7}


def test_nothing_happens_without_a_route(world):
    """A Service that no rule is attached to: the mesh stays away from its address."""
    world.base()
    world.start()
    assert world.metrics().sum("sluice_datapath_connects_total", reason="steered") == 0

    def untouched():
        r = world.client.run(["curl", "-s", "-m", "0.2", f"http://{world.addr()[0]}/"], check=False)
        return r.returncode != 0
    hold_for(untouched, 0.5)
    assert world.metrics().sum("sluice_datapath_connects_total") == 0
