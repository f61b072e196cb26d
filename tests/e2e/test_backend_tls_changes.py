# SPDX-License-Identifier: Apache-2.0
"""BackendTLSPolicy, the cases that need a configuration or an agent of their own."""
import json

import pytest

from harness import manifests as m, rawhttp, tls
from harness.tls import HOST, config_map, policy
from harness.wait import wait_for


@pytest.fixture(scope="module")
def ca(fabric):
    return tls.CA(fabric.folder, "changes-ca")


def seen(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_rotation(world, ca, fabric):
    """Another authority, then another name: at once, without a restart; old connections are not used again."""
    new_ca = tls.CA(fabric.folder, "new-ca")
    world.base()
    world.add_service("one", [world.a], [m.port(443, 7101, "tls")])
    world.route("r", [m.rule(backends=m.backend("one", 443))])
    world.write("policy.yaml", [config_map("ca", ca.pem), policy("p", "one")])
    server = tls.Server(world.a, 7101, ca.issue(f"DNS:{HOST}", "DNS:next.example"))
    world.start()

    def ask_web():
        def run():
            with rawhttp.Conn(world.addr("web")) as c:
                return c.request()
        return world.client.call(run)
    try:
        assert seen(ask_web())["sni"] == HOST
        world.write("policy.yaml", [config_map("ca", new_ca.pem), policy("p", "one")])
        wait_for(lambda: ask_web().status == 503, what="the other authority")
        world.write("policy.yaml", [config_map("ca", ca.pem + new_ca.pem), policy("p", "one", hostname="next.example")])
        wait_for(lambda: ask_web().status == 200 and seen(ask_web())["sni"] == "next.example", what="the other name")
        world.write("policy.yaml", [config_map("ca", ca.pem)])
        world.write("other.yaml", policy("q", "one", ca="later"))
        wait_for(lambda: ask_web().status == 503, what="a policy without its ConfigMap")
        world.write("later.yaml", config_map("later", new_ca.pem + ca.pem))
        wait_for(lambda: ask_web().status == 200, what="the ConfigMap")
    finally:
        server.stop()


def test_the_older_policy_wins_and_one_of_a_port_over_both(world, ca):
    world.base()
    world.add_service("one", [world.a], [m.port(443, 7102, "tls"), m.port(444, 7102, "more")])
    world.route("r", [m.rule(m.path("/443"), m.backend("one", 443)), m.rule(m.path("/444"), m.backend("one", 444))])
    names = ["old.example", "new.example", "port.example"]
    world.write("policies.yaml", [config_map("ca", ca.pem),
                                  policy("b-old", "one", hostname=names[0], created="2026-01-01T00:00:00Z"),
                                  policy("a-new", "one", hostname=names[1], created="2026-01-02T00:00:00Z"),
                                  policy("port", "one", hostname=names[2], section="more", created="2026-01-03T00:00:00Z")])
    server = tls.Server(world.a, 7102, ca.issue(*(f"DNS:{n}" for n in names)))
    world.start()

    def run():
        with rawhttp.Conn(world.addr("web")) as c:
            return [json.loads(c.request(target=t).body)["sni"] for t in ("/443", "/444")]
    try:
        assert world.client.call(run) == ["old.example", "port.example"]
    finally:
        server.stop()
    told = {p["name"]: p["parents"][0]["conditions"][0]["reason"] for p in tls.policies(world.ctl("routes"))}
    assert told == {"b-old": "Accepted", "a-new": "Conflicted", "port": "Accepted"}


def test_a_handshake_is_bounded_by_the_connect_timeout(world, ca):
    world.base()
    world.add_service("deaf", [world.a], [m.port(443, 9002, "sink")])
    world.route("r", [m.rule(backends=m.backend("deaf", 443))])
    world.write("policy.yaml", [config_map("ca", ca.pem), policy("p", "deaf")])
    world.start("--limit", "connect-timeout=300")

    def run():
        with rawhttp.Conn(world.addr("web")) as c:
            return c.request()
    assert world.client.call(run).status == 503
    assert world.metrics().sum("sluice_limit_reached_total", limit="connect-timeout") > 0
    assert world.metrics().sum("sluice_upstream_connects_total", result="tls") > 0
