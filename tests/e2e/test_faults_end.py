# SPDX-License-Identifier: Apache-2.0
"""How a FaultInjection ends: by itself, by an edit, on a host that refuses it, and with the agent."""
import json
import time

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for

ROUTE = ("HTTPRoute", "web")
ABORT = {"abort": {"percent": 100, "httpStatus": 503}}


def conditions(world):
    return {r["name"]: (c["status"], c["reason"]) for r in world.status()["routes"]
            if r["kind"] == "FaultInjection" for p in r["parents"] for c in p["conditions"]}


@pytest.fixture
def own(world):
    """A world of one route, for tests that change or end it."""
    world.base()
    world.route("web", [m.rule(backends="a")])
    return world


def test_it_ends_by_itself_and_the_next_one_applies(own):
    seconds = round(scaled(3))
    own.write("first.yaml", m.faults("first", ROUTE, ABORT, seconds=seconds))
    own.write("second.yaml", m.faults("second", ROUTE, {"abort": {"percent": 100, "httpStatus": 429}}))
    own.start()
    ends = time.time() + seconds
    assert own.fetch().status == 503 or time.time() >= ends - 1
    assert conditions(own)["second"][1] in ("Conflicted", "Accepted")
    wait_for(lambda: conditions(own)["first"][1] == "Expired", scaled(3) + 10, what="the end to be told")
    wait_for(lambda: own.fetch().status == 429, what="the next one to apply")
    found = conditions(own)
    assert found["first"][0] == "False" and found["second"] == ("True", "Accepted")


def test_an_edit_takes_it_away(own):
    own.write("faults.yaml", m.faults("f", ("Service", "a"), ABORT))
    own.start()
    assert own.fetch().status == 503
    own.remove("faults.yaml")
    wait_for(lambda: own.fetch().status == 200)
    wait_for(lambda: not conditions(own), what="its conditions to go")


def test_a_host_can_refuse_them(own):
    own.write("faults.yaml", m.faults("f", ROUTE, ABORT))
    own.start("--no-faults")
    assert own.fetch().status == 200
    assert conditions(own)["f"][1] == "Accepted", "as other hosts have it"
    assert json.loads(own.ctl_run("explain", "http://web.shop/").stdout)["rule"]["faults"] == \
        "FaultInjection/shop/f: does nothing on this host (--no-faults)"


@pytest.mark.parametrize("end", ["drain", "upgrade"])
def test_an_agent_that_ends_waits_for_the_delay_and_no_longer(own, end):
    own.write("faults.yaml", m.faults("f", ROUTE, {"delay": {"percent": 100, "duration": f"{round(scaled(0.7) * 1000)}ms"}}))
    own.start()
    addr = own.addr()

    def run(task):
        with rawhttp.Conn(addr) as c:
            c.send(rawhttp.build())
            task.report()
            return c.read_response().status
    task = own.spawn(own.client, run)
    wait_for(lambda: own.metrics().sum("sluice_faults_total", kind="delay") == 1, what="the delay")
    if end == "drain":
        own.agent.stop(20)
    else:
        own.upgrade()
    assert task.result() == 200
