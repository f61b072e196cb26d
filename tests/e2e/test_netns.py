# SPDX-License-Identifier: Apache-2.0
"""Pods that come, go, change their addresses, or have their network turned off."""
import os
import socket

import pytest

from harness import manifests as m, netns, rawhttp
from harness.wait import wait_for


@pytest.fixture
def mesh(world):
    world.base()
    world.route("r", [m.rule(m.exact("/routed"), "a")])
    return world


def served(world, pod):
    return os.path.basename(pod.netns) in world.served_netns()


def wait_served(world, pod):
    wait_for(lambda: served(world, pod), what=f"{pod.name} to be served")


def test_a_pod_that_comes_later_is_served(mesh):
    mesh.start()
    pod = mesh.pod("late")
    wait_served(mesh, pod)
    assert mesh.fetch("/routed", pod=pod).seen["peer"][0] == pod.v4
    assert mesh.fetch("/x", pod=pod).status == 404


def test_a_pod_that_goes_is_forgotten(mesh):
    pod = mesh.pod("short")
    mesh.start()
    assert mesh.fetch("/routed", pod=pod).status == 200
    fds = mesh.agent.n_fds()
    pod.delete()
    wait_for(lambda: not served(mesh, pod), what="the pod to be forgotten")
    wait_for(lambda: mesh.agent.n_fds() < fds, what="its descriptors to be closed")
    assert mesh.fetch("/routed").status == 200


def test_a_pod_with_open_connections_goes(mesh):
    pod = mesh.pod("busy")
    mesh.start()

    def run(task):
        conns = [rawhttp.Conn(mesh.addr()) for _ in range(10)]
        for c in conns:
            c.send(rawhttp.build(target="/routed?size=100000000"))
            c.read_head()
        task.report()
        task.wait_stop()
    task = mesh.spawn(pod, run)
    task.next_report()
    task.kill()
    pod.delete()
    wait_for(lambda: not served(mesh, pod))
    wait_for(lambda: mesh.metrics().sum("sluice_connections_active") == 0, what="its connections to go")
    assert mesh.fetch("/routed").status == 200


def test_pods_that_come_and_go_leave_nothing_behind(mesh):
    mesh.start()

    def cycle():
        pod = mesh.pod("cycle")
        wait_served(mesh, pod)
        assert mesh.fetch("/routed", pod=pod).status == 200
        pod.delete()
        wait_for(lambda: not served(mesh, pod))
    cycle()
    before = mesh.agent.n_fds()
    for _ in range(8):
        cycle()
    # Each worker keeps one of its own namespace from the first time that it enters another.
    wait_for(lambda: mesh.agent.n_fds() <= before + 2, what="descriptors to be closed")


def test_a_name_that_is_used_again(mesh):
    mesh.start()
    pod = mesh.pod("again")
    for _ in range(3):
        wait_served(mesh, pod)
        assert mesh.fetch("/routed", pod=pod).status == 200
        pod.delete()
        pod.create()
    wait_served(mesh, pod)
    wait_for(lambda: mesh.fetch("/routed", pod=pod).status == 200)


def test_a_pod_whose_lo_is_down_is_left_to_the_policy_until_it_is_up(mesh):
    pod = mesh.pod("no-lo", lo=False)
    mesh.start(wait=False)
    wait_for(lambda: served(mesh, mesh.client))
    entry = next(n for n in mesh.ctl("netns")["netns"] if n["name"] == os.path.basename(pod.netns))
    assert "lo" in entry["state"]
    assert mesh.fetch("/open", pod=pod).status == 200, "balanced without rules"
    pod.ip("link set lo up")
    wait_served(mesh, pod)
    wait_for(lambda: mesh.fetch("/x", pod=pod).status == 404, what="the rules to apply")
    pod.ip("link set lo down")
    wait_for(lambda: not served(mesh, pod))
    assert mesh.fetch("/open", pod=pod).status == 200
    pod.ip("link set lo up")
    wait_served(mesh, pod)


def test_an_address_that_is_added_may_be_bound_to(mesh):
    mesh.start()
    mesh.client.ip("addr add 10.77.9.9/16 dev eth0")
    try:
        def listed():
            entry = next(n for n in mesh.ctl("netns")["netns"] if n["name"] == os.path.basename(mesh.client.netns))
            return "10.77.9.9" in entry["addresses"]
        wait_for(listed, what="the new address")

        def run():
            s = socket.socket()
            s.bind(("10.77.9.9", 0))
            s.connect(mesh.addr())
            return rawhttp.Conn(None, s).request(target="/x").status, s.getsockname()[0]
        wait_for(lambda: mesh.client.call(run) == (404, "10.77.9.9"), what="it to be steered")
    finally:
        mesh.client.ip("addr del 10.77.9.9/16 dev eth0")
    wait_for(lambda: not listed(), what="the address to go")


def test_a_pod_without_ipv6(mesh):
    pod = mesh.pod("v4only", dual_stack=False)
    mesh.start()
    assert mesh.fetch("/routed", pod=pod).seen["peer"][0] == pod.v4
    entry = next(n for n in mesh.ctl("netns")["netns"] if n["name"] == os.path.basename(pod.netns))
    assert all(a.startswith("127.") for a in entry["listeners"])


def test_a_namespace_that_has_no_name_is_found_by_its_processes(mesh):
    """As containers have it: no file in the folder, only a process inside."""
    pod = mesh.fabric.pod("nameless")
    mesh.extra_pods.append(pod)
    mesh.write("nameless.yaml", m.pod(pod))
    hidden = os.path.join(mesh.folder, "hidden")
    os.close(os.open(hidden, os.O_CREAT))
    netns.mount(pod.netns, hidden, None, netns.MS_BIND)
    named, pod.netns = pod.netns, hidden
    netns.delete(named)
    task = mesh.spawn(pod, lambda task: task.wait_stop())
    mesh.start(wait=False)
    wait_for(lambda: served(mesh, mesh.client))
    try:
        wait_for(lambda: mesh.fetch("/x", pod=pod).status == 404, what="the rules to apply")
        assert mesh.fetch("/routed", pod=pod).seen["peer"][0] == pod.v4
    finally:
        task.stop_and_result()


def test_a_namespace_that_appears_without_a_name_is_found_when_it_calls(mesh):
    mesh.start()
    pod = mesh.fabric.pod("caller")
    mesh.extra_pods.append(pod)
    hidden = os.path.join(mesh.folder, "hidden2")
    os.close(os.open(hidden, os.O_CREAT))
    netns.mount(pod.netns, hidden, None, netns.MS_BIND)
    named, pod.netns = pod.netns, hidden
    netns.delete(named)
    wait_for(lambda: os.path.basename(named) not in mesh.served_netns())

    def run(task):
        def status():
            return rawhttp.fetch(mesh.addr(), target="/x").status
        return wait_for(lambda: status() == 404, what="the rules to apply after the first calls")
    assert mesh.spawn(pod, run).result(60)


def test_the_nodes_own_processes_are_routed(mesh):
    mesh.start()
    wait_for(lambda: mesh.fetch("/x", pod=mesh.fabric.node).status == 404)
    assert mesh.fetch("/routed", pod=mesh.fabric.node).seen["peer"][0] == "10.77.0.1"


def test_the_nodes_own_processes_may_be_left_alone(mesh):
    mesh.start("--no-host-netns")
    before = mesh.metrics().sum("sluice_datapath_connects_total", reason="steered")
    assert mesh.fetch("/x", pod=mesh.fabric.node).status == 200, "balanced by the failure policy"
    assert mesh.metrics().sum("sluice_datapath_connects_total", reason="steered") == before


def test_a_pods_own_ports_do_not_collide(mesh):
    """A pod that listens on the agent's favourite port itself."""
    pod = mesh.pod("greedy", listen=["http:15001", "http:15006"])
    mesh.start()
    assert mesh.fetch("/routed", pod=pod).status == 200
    assert mesh.fetch("/x", pod=pod).status == 404

    def own():
        return rawhttp.fetch(("127.0.0.1", 15001)).seen["pod"]
    assert pod.call(own) == pod.name


def test_another_netns_folder_that_comes_later(mesh):
    folder = os.path.join(mesh.folder, "later")
    mesh.start("--netns-dir", folder)
    os.mkdir(folder)
    path = os.path.join(folder, "pod-in-later")
    netns.create(path)
    try:
        netns.Entry(path).ip("link set lo up")
        wait_for(lambda: "pod-in-later" in mesh.served_netns(), what="the namespace in the new folder")
    finally:
        netns.delete(path)
    wait_for(lambda: "pod-in-later" not in mesh.served_netns())


def test_a_file_that_is_no_namespace_is_ignored(mesh):
    path = os.path.join(mesh.fabric.netns_dir, "not-a-namespace")
    with open(path, "w") as f:
        f.write("nothing")
    try:
        mesh.start()
        assert mesh.fetch("/routed").status == 200
        assert "not-a-namespace" not in mesh.served_netns()
    finally:
        os.unlink(path)


def test_more_connections_than_one_listener_address_can_tell_apart(mesh):
    """A client's port is taken once towards each address: further 127.x addresses follow."""
    pod = mesh.pod("crowded")

    def few_ports():
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
            f.write("40000 41999")
    pod.call(few_ports)
    mesh.start()

    def run():
        conns = []
        for _ in range(2600):
            c = rawhttp.Conn(mesh.addr())
            conns.append(c)
            assert c.request(target="/routed").status == 200
        return len({c.sock.getsockname()[0] for c in conns}), conns[0].request(target="/routed").status
    assert pod.call(run, timeout=60) == (1, 200), "the application sees one address of its own"
    listeners = next(n for n in mesh.ctl("netns")["netns"] if n["name"] == os.path.basename(pod.netns))["listeners"]
    assert sum(a.startswith("127.") for a in listeners) > 3, listeners
