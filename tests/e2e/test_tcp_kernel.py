# SPDX-License-Identifier: Apache-2.0
"""TCPRoutes with sluice.dev/enforced-by: kernel: connections balanced by the connect hook, the agent not in the way."""
import json

import pytest

from harness import manifests as m, rawhttp
from harness.wait import wait_for
from test_tcproute import greeted_by

KERNEL = {"sluice.dev/enforced-by": "kernel"}
PORT = [m.port(90, 9001, "raw")]


def tcp_route(world, name, *backends, annotations=KERNEL, **kw):
    world.l4_route("TCPRoute", name, [m.backend(b, 90, weight, ns="shop") for b, weight in backends],
                   [m.parent(name, ns="shop", port=90)], annotations=annotations, **kw)


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for pod in "abc":
        w.add_service(f"banner-{pod}", [w.pods[pod]], PORT)
    w.add_service("empty", [], PORT)
    for name in ("split", "half", "lost", "zero", "moves", "changes", "shared"):
        w.add_service(name, [w.c], PORT)
    tcp_route(w, "split", ("banner-a", 3), ("banner-b", 1), ("banner-c", 0))
    tcp_route(w, "half", ("banner-a", 1), ("nowhere", 1))
    tcp_route(w, "lost", ("empty", 1))
    tcp_route(w, "zero", ("banner-a", 0))
    tcp_route(w, "moves", ("banner-a", 1))
    tcp_route(w, "changes", ("banner-c", 1))
    tcp_route(w, "shared", ("banner-a", 1))
    w.start()
    return w


def by_kernel(world, reason="split_tcp"):
    return world.metrics().sum("sluice_datapath_connects_total", reason=reason)


def condition(world, name, ns="shop"):
    for r in world.ctl("routes")["routes"]:
        if (r["kind"], r["namespace"], r["name"]) == ("TCPRoute", ns, name):
            return next(((c["status"], c["message"]) for c in r["parents"][0]["conditions"]
                         if c["type"] == "sluice.dev/Kernel"), None)


def told(world, name, status, text):
    wait_for(lambda: (condition(world, name) or ("", ""))[0] == status, what=f"{name}: Kernel {status}")
    assert text in condition(world, name)[1]


@pytest.mark.parametrize("family", [4, 6])
def test_the_backend_is_reached_and_looks_like_the_service(mesh, family):
    address = mesh.addr("changes", 90, family)

    def run():
        with rawhttp.Conn(address, timeout=5) as c:
            return c.sock.getpeername()[:2], c.read_line().decode()
    before, steered = by_kernel(mesh), by_kernel(mesh, "steered")
    assert mesh.client.call(run) == (tuple(address[:2]), f"220 c ready for {mesh.client.ips[family == 6]}")
    assert (by_kernel(mesh), by_kernel(mesh, "steered")) == (before + 1, steered)


def test_an_ipv6_socket_that_names_an_ipv4_address(mesh):
    def run():
        with rawhttp.Conn(("::ffff:" + mesh.addr("changes")[0], 90), timeout=5) as c:
            return c.read_line().split()[1].decode()
    assert mesh.client.call(run) == "c"


def test_a_process_of_the_node_is_a_client_too(mesh):
    before = by_kernel(mesh)
    assert greeted_by(mesh, "changes", pod=mesh.fabric.node) == ["c"] and by_kernel(mesh) == before + 1


def test_weights_count_connections_which_are_counted_by_route(mesh):
    count = lambda **labels: mesh.metrics().sum("sluice_route_connections_total", service="shop/split:90",
                                                route="TCPRoute/shop/split", rule="0", **labels)
    before = count()
    names = greeted_by(mesh, "split", 200)
    # Drawn by lot: 150 of 200, give or take six standard deviations.
    assert 114 <= names.count("a") <= 186 and names.count("a") + names.count("b") == 200
    assert count(backend="shop/banner-a:90") == names.count("a") and count() == before + 200
    route = next(r for r in mesh.ctl("routes")["routes"] if r["name"] == "split" and r["kind"] == "TCPRoute")
    assert route["requests"] == before + 200
    assert not [c for c in mesh.ctl("conns")["connections"] if c.get("route") == "TCPRoute/shop/split"]


def test_the_share_of_an_invalid_backend_is_refused(mesh):
    names = greeted_by(mesh, "half", 60)
    assert 7 <= names.count("a") <= 53 and names.count("a") + names.count(None) == 60


@pytest.mark.parametrize("service", ["lost", "zero"])
def test_without_backend_connections_are_refused(mesh, service):
    before = by_kernel(mesh, "split_tcp_none")

    def run():
        with pytest.raises(ConnectionRefusedError):
            rawhttp.Conn(mesh.addr(service, 90), timeout=5)
    mesh.client.call(run)
    assert by_kernel(mesh, "split_tcp_none") == before + 1
    assert mesh.ctl("status")["datapath"]["tcp_by_kernel"]["refused"] == before + 1


def test_new_connections_follow_the_endpoints_older_ones_stay(mesh):
    def run(task):
        with rawhttp.Conn(mesh.addr("moves", 90), timeout=60) as c:
            task.report(c.read_line().split()[1].decode())
            task.wait_stop()
            c.send(b"still there\r\n")
            return c.read_line()
    task = mesh.spawn(mesh.client, run)
    assert task.next_report() == "a"
    tcp_route(mesh, "moves", ("banner-b", 1))
    wait_for(lambda: greeted_by(mesh, "moves") == ["b"], what="the other backend")
    mesh.write("service-shop-banner-b.yaml", mesh.service_objects("banner-b", [], PORT))
    wait_for(lambda: greeted_by(mesh, "moves") == [None], what="no endpoint")
    mesh.write("service-shop-banner-b.yaml", mesh.service_objects("banner-b", [mesh.b], PORT))
    wait_for(lambda: greeted_by(mesh, "moves") == ["b"], what="its endpoint again")
    assert task.stop_and_result() == b"still there"


def by_agent(world, service, name):
    """A connection that the agent carries to the backend of that name."""
    steered = by_kernel(world, "steered")
    assert greeted_by(world, service) == [name]
    return by_kernel(world, "steered") == steered + 1


def test_a_policy_comes_and_goes(mesh):
    told(mesh, "changes", "True", "Enforced by the kernel alone at port 90")
    mesh.write("policy-tcp.yaml", m.policy("tcp", ["banner-c"], outlierDetection={"consecutiveErrors": 3}))
    told(mesh, "changes", "False", "90 (TrafficPolicy shop/tcp applies to shop/banner-c:90)")
    assert by_agent(mesh, "changes", "c")
    x = json.loads(mesh.ctl_run("explain", "tcp://changes.shop:90").stdout)
    assert (x["result"]["enforced_by"], x["result"]["enforced_by_why"]) == (
        "agent", "TrafficPolicy shop/tcp applies to shop/banner-c:90")
    mesh.remove("policy-tcp.yaml")
    told(mesh, "changes", "True", "port 90")
    assert not by_agent(mesh, "changes", "c")
    assert "the kernel sends each new connection to a backend" in mesh.ctl_run(
        "explain", "tcp://changes.shop:90", output=None).stdout


def test_a_consumers_route_comes_and_goes(mesh):
    told(mesh, "shared", "True", "port 90")
    tcp_route(mesh, "shared", ("banner-b", 1), ns="other", annotations=None)
    told(mesh, "shared", "False", "90 (clients in namespace other have a TCPRoute of their own)")
    assert by_agent(mesh, "shared", "a") and greeted_by(mesh, "shared", pod=mesh.alien) == ["b"]
    mesh.remove("tcproute-other-shared.yaml")
    told(mesh, "shared", "True", "port 90")
    assert greeted_by(mesh, "shared", pod=mesh.alien) == ["a"]


def test_without_the_annotation_the_agent_has_it(mesh):
    tcp_route(mesh, "shared", ("banner-a", 1), annotations={"sluice.dev/enforced-by": "agent"})
    wait_for(lambda: condition(mesh, "shared") is None, what="no condition")
    assert by_agent(mesh, "shared", "a")
    tcp_route(mesh, "shared", ("banner-a", 1))
    told(mesh, "shared", "True", "port 90")


# Last: it ends the agent.

def test_a_dead_agent_changes_nothing(mesh):
    mesh.agent.kill()
    assert greeted_by(mesh, "changes", 3) + greeted_by(mesh, "lost") == ["c", "c", "c", None]
    mesh.start()
    assert greeted_by(mesh, "changes", 2) == ["c", "c"]
