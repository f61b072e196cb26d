# SPDX-License-Identifier: Apache-2.0
"""UDPRoute: the kernel sends flows to the backends of a rule, by weight, and answers come from the Service."""
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from harness import manifests as m, udp
from harness.wait import scaled, wait_for

CLIENTS = os.path.join(os.path.dirname(__file__), "clients")
PORT = [m.port(53, 5300, "dns", protocol="UDP")]


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for pod in "abc":
        w.add_service(f"dns-{pod}", [w.pods[pod]], PORT)
    for name in ("dns", "split", "half", "lost", "zero", "moves", "both", "plain"):
        w.add_service(name, [w.c], [*PORT, m.port(53, 9000, "tcp")])
    w.add_service("empty", [], PORT)
    route = lambda name, *backends: w.l4_route(
        "UDPRoute", name, [m.backend(b, 53, weight) for b, weight in backends], [m.parent(name, port=53)])
    route("dns", ("dns-a", None))
    route("split", ("dns-a", 3), ("dns-b", 1), ("dns-c", 0))
    route("half", ("dns-a", 1), ("nowhere", 1))
    route("lost", ("empty", 1))
    route("zero", ("dns-a", 0))
    route("moves", ("dns-a", 1))
    route("both", ("dns-b", 1))
    route("dns-c", ("dns-c", 1))
    w.l4_route("TCPRoute", "both", [m.backend("both", 53)], [m.parent("both", port=53)])
    servers = [w.spawn(w.pods[pod], udp.serve, w.pods[pod]) for pod in "abc"]
    for s in servers:
        assert s.next_report() == "ready"
    w.start()
    yield w
    for s in servers:
        s.stop_and_result()


def answers(world, service, n=1, family=4, connected=False, pod=None, text=b"who"):
    """Who answers n flows; None for one that is refused."""
    address = world.addr(service, 53, family)
    return (pod or world.client).call(lambda: [udp.asked(address, connected, text) for _ in range(n)], timeout=60)


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("family", [4, 6])
def test_a_backend_answers_for_the_service(mesh, family, connected):
    assert answers(mesh, "dns", 2, family, connected) == ["a", "a"]


@pytest.mark.parametrize("family", [4, 6])
def test_the_backend_sees_the_client(mesh, family):
    assert answers(mesh, "dns", family=family, text=b"from") == [mesh.client.ips[family == 6]]


def test_a_process_of_the_node_is_a_client_too(mesh):
    assert answers(mesh, "dns", pod=mesh.fabric.node, connected=True) == ["a"]


def test_an_ipv6_socket_that_names_an_ipv4_address(mesh):
    address = ("::ffff:" + mesh.addr("dns")[0], 53)
    assert mesh.client.call(lambda: [udp.asked(address, c) for c in (False, True)]) == ["a", "a"]


@pytest.mark.parametrize("connected", [False, True])
def test_weights_count_flows(mesh, connected):
    names = answers(mesh, "split", 400, connected=connected)
    # Drawn by lot: 300 of 400, give or take five standard deviations.
    assert 256 <= names.count("a") <= 344 and names.count("a") + names.count("b") == 400


def test_a_flow_stays_with_its_backend(mesh):
    def run():
        with udp._socket(mesh.addr("split", 53)) as s:
            return {udp.ask(s, mesh.addr("split", 53)) for _ in range(50)}
    assert len(mesh.client.call(run)) == 1


def test_one_socket_asks_several_services(mesh):
    def run():
        with udp._socket(mesh.addr("dns", 53)) as s:
            return [udp.ask(s, mesh.addr(name, 53)) for _ in range(3) for name in ("dns", "both", "dns-c")]
    assert mesh.client.call(run) == ["a", "b", "c"] * 3


def test_the_share_of_an_invalid_backend_is_refused(mesh):
    names = answers(mesh, "half", 100)
    assert 25 <= names.count("a") <= 75 and names.count("a") + names.count(None) == 100


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("service", ["lost", "zero"])
def test_without_backend_datagrams_are_refused(mesh, service, connected):
    before = mesh.metrics().sum("sluice_datapath_connects_total", reason="split_none")
    assert answers(mesh, service, 2, connected=connected) == [None, None]
    assert mesh.metrics().sum("sluice_datapath_connects_total", reason="split_none") == before + 2
    datapath = mesh.ctl("status")["datapath"]
    assert datapath["udp"]["refused"] == before + 2 and "split_none" not in datapath["not_steered"]


def test_a_port_of_two_protocols(mesh):
    def run():
        with socket.create_connection(mesh.addr("both", 53), 5) as s:
            s.sendall(b"over TCP")
            return s.recv(100)
    assert answers(mesh, "both") == ["b"] and mesh.client.call(run) == b"over TCP"


def test_what_has_no_route_is_left_alone(mesh):
    def run():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(mesh.addr("plain", 53))
            return s.getpeername()
    assert mesh.client.call(run) == tuple(mesh.addr("plain", 53))


def test_flows_move_when_their_endpoint_goes(mesh):
    address = mesh.addr("moves", 53)

    def run(task):
        with udp._socket(address) as s:
            while not task.stopping():
                try:
                    task.report(udp.ask(s, address))
                except ConnectionRefusedError:
                    task.report(None)

    def becomes(name):
        deadline = time.monotonic() + scaled(20)
        while task.next_report() != name:  # what was reported meanwhile comes first
            assert time.monotonic() < deadline, f"answers of {name}"
    task = mesh.spawn(mesh.client, run)
    assert task.next_report() == "a"
    mesh.l4_route("UDPRoute", "moves", [m.backend("dns-b", 53)], [m.parent("moves", port=53)])
    becomes("b")
    mesh.write("service-shop-dns-b.yaml", mesh.service_objects("dns-b", [], PORT))
    becomes(None)
    mesh.write("service-shop-dns-b.yaml", mesh.service_objects("dns-b", [mesh.c], PORT))
    becomes("c")
    mesh.write("service-shop-dns-b.yaml", mesh.service_objects("dns-b", [mesh.b], PORT))
    becomes("b")
    task.stop_and_result()


def test_conditions_and_views(mesh):
    mesh.l4_route("UDPRoute", "theirs", [m.backend("dns-a", 53, ns="shop")], [m.parent("dns", ns="shop")], ns="other")

    def udp_routes():
        found = {r["name"]: r for r in mesh.ctl("routes")["routes"] if r["kind"] == "UDPRoute"}
        return found if "theirs" in found else None
    routes = wait_for(udp_routes, what="the route of others")
    conditions = {name: {c["type"]: (c["status"], c["reason"]) for c in r["parents"][0]["conditions"]}
                  for name, r in routes.items()}
    assert conditions["split"] == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    assert conditions["half"]["ResolvedRefs"] == ("False", "BackendNotFound")
    assert conditions["theirs"]["Accepted"] == ("False", "UnsupportedValue")
    rule = routes["split"]["rules"][0]
    assert rule["matches"] == ["any flow"]
    assert [(b["name"], b["weight"], b["ready"]) for b in rule["backends"]] == [
        ("shop/dns-a:53/udp", 3, 1), ("shop/dns-b:53/udp", 1, 1), ("shop/dns-c:53/udp", 0, 1)]
    ports = {(p["port"], p["protocol"]): p["routes"] for s in mesh.ctl("services")["services"] if s["name"] == "both"
             for p in s["ports"]}
    assert ports == {(53, "UDP"): ["UDPRoute/shop/both"], (53, "TCP"): ["TCPRoute/shop/both"]}
    mesh.remove("udproute-other-theirs.yaml")


def test_explain(mesh):
    x = json.loads(mesh.ctl_run("explain", "udp://split.shop:53").stdout)
    assert (x["service"], x["result"], x["rule"]["route"]) == (
        "shop/split:53/udp", {"kind": "flow"}, "UDPRoute/shop/split")
    assert [(b["name"], b["share"]) for b in x["backends"]] == [
        ("shop/dns-a:53/udp", 0.75), ("shop/dns-b:53/udp", 0.25)]
    text = mesh.ctl_run("explain", "udp://split.shop:53", output=None).stdout
    assert "any flow" in text and "the kernel sends each new flow to a backend" in text
    x = json.loads(mesh.ctl_run("explain", "udp://plain.shop:53").stdout)
    assert x["result"]["kind"] == "pass_through"
    assert json.loads(mesh.ctl_run("explain", "tcp://both.shop:53").stdout)["rule"]["route"] == "TCPRoute/shop/both"


# Real resolvers.

def test_getent_resolves(mesh):
    """glibc, by /etc/resolv.conf."""
    conf = os.path.join(mesh.folder, "resolv.conf")
    with open(conf, "w") as f:
        f.write(f"nameserver {mesh.addr('dns')[0]}\n")
    out = mesh.client.run(["unshare", "-m", "sh", "-c", f'mount --bind "{conf}" "$(readlink -f /etc/resolv.conf)" && '
                           f"getent -s hosts:dns ahostsv4 {udp.NAME}."])
    assert out.stdout.split()[0] == mesh.a.v4


def test_node_resolves(mesh):
    """c-ares."""
    out = mesh.client.run(["node", os.path.join(CLIENTS, "dns.js"), mesh.addr("dns")[0], udp.NAME])
    assert out.stdout.strip() == mesh.a.v4


def test_go_resolves(mesh):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    target = os.path.join(mesh.folder, "dns")
    subprocess.run([go, "build", "-o", target, os.path.join(CLIENTS, "dns.go")], check=True,
                   env=dict(os.environ, GOFLAGS="-mod=mod", GO111MODULE="off", CGO_ENABLED="0"))
    out = mesh.client.run([target, f"{mesh.addr('dns')[0]}:53", udp.NAME])
    assert out.stdout.strip() == mesh.a.v4


# Last: it ends the agent.

def test_a_dead_agent_changes_nothing(mesh):
    address = mesh.addr("dns", 53)

    def run(task):
        with udp._socket(address) as s:
            while True:
                task.report(udp.ask(s, address))
                if task.stopping():
                    return udp.ask(s, address)
    task = mesh.spawn(mesh.client, run)
    assert task.next_report() == "a"
    mesh.agent.kill()
    assert answers(mesh, "dns", 2) + answers(mesh, "dns", 2, 6, True) == ["a"] * 4
    assert answers(mesh, "lost") == [None]
    assert task.stop_and_result() == "a"
    mesh.start()
    assert answers(mesh, "dns", 2) == ["a", "a"]
