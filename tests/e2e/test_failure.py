# SPDX-License-Identifier: Apache-2.0
"""The agent killed, frozen, stopped and started again, under each failure policy, idle and under load."""
import errno
import signal
import socket

import pytest

from harness import manifests as m, rawhttp
from harness.agent import Agent
from harness.wait import wait_for
from harness.world import stand_in

ONLY_A = [m.rule(m.path("/"), "a")]


def routed(world):
    r = world.fetch()
    return r.status == 200 and r.seen["pod"] == "a"


def connect(addr):
    with socket.socket(socket.AF_INET6 if ":" in addr[0] else socket.AF_INET) as s:
        s.settimeout(3)
        return s.connect_ex(addr)


@pytest.mark.parametrize("family", [4, 6])
def test_killed_and_open_the_kernel_balances(world, family):
    world.base()
    world.route("a", ONLY_A)
    world.start(failure_policy="open")
    assert set(world.pods_of(4, family=family)) == {"a"}
    world.agent.kill()
    pods = {world.fetch(family=family).seen["pod"] for _ in range(30)}
    assert pods == {"a", "b", "c"}, "every ready endpoint of the Service, as without a mesh"


def test_killed_and_open_the_application_sees_the_service(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    world.agent.kill()

    def run():
        with rawhttp.Conn(world.addr()) as c:
            r = c.request()
            return c.sock.getpeername(), c.sock.getsockname()[0], r.seen["peer"][0]
    assert world.client.call(run) == (world.addr(), world.client.v4, world.client.v4)


@pytest.mark.parametrize("family", [4, 6])
def test_killed_and_closed_connections_are_refused(world, family):
    world.base()
    world.route("a", ONLY_A)
    world.start(failure_policy="closed")
    assert routed(world)
    world.agent.kill()
    assert world.client.call(connect, world.addr(family=family)) == errno.EPERM


def test_a_service_says_its_own_policy(world):
    world.base()
    world.write("strict.yaml", [m.service("strict", "10.96.0.42", annotations={"sluice.dev/failure-policy": "closed"}),
                                m.endpoint_slice("strict", [world.b])])
    world.vips["strict"] = ("10.96.0.42", None)
    world.route("strict", ONLY_A, ["strict"])
    world.route("lax", ONLY_A)
    world.start(failure_policy="open")
    world.agent.kill()
    assert world.fetch().status == 200
    assert world.client.call(connect, world.addr("strict")) == errno.EPERM


def test_killed_and_open_with_another_provider_the_connection_is_left_alone(world):
    world.base()
    world.route("a", ONLY_A)
    with stand_in(world):
        world.start(vip_provider="other")
        assert routed(world)
        world.agent.kill()
        assert world.fetch().seen["pod"].startswith("stand-in")


def test_no_ready_endpoint_while_the_agent_is_away(world):
    world.base()
    world.write("empty.yaml", [m.service("empty", "10.96.0.43"),
                               m.endpoint_slice("empty", [world.b], not_ready=[world.b])])
    world.vips["empty"] = ("10.96.0.43", None)
    world.route("empty", ONLY_A, ["empty"])
    world.start()
    assert world.fetch(service="empty").seen["pod"] == "a"
    world.agent.kill()
    assert world.client.call(connect, world.addr("empty")) in (errno.EPERM, errno.ECONNREFUSED)


def test_killed_and_started_again(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    world.agent.kill()
    world.start()
    assert set(world.pods_of(4)) == {"a"}


def test_stopped_it_leaves_nothing_half_done(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    world.agent.stop()
    assert {world.fetch().seen["pod"] for _ in range(30)} == {"a", "b", "c"}, "the failure policy stays in the kernel"
    world.start()
    assert routed(world)


def test_detach_takes_everything_away(world):
    world.base()
    world.route("a", ONLY_A)
    world.start("--detach")
    assert routed(world)
    world.agent.stop()
    world._check_nothing_left()
    assert world.client.call(connect, world.addr()) not in (0, errno.EPERM)


def test_uninstall_takes_everything_away(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    world.agent.kill()
    world.uninstall()
    world._check_nothing_left()
    world.uninstall()


def test_sigterm_lets_open_requests_end(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.send(rawhttp.build(target="/?size=100000&chunk=10000&pause=100"))
            task.report()
            r = c.read_response()
            return r.status, len(r.body)
    task = world.spawn(world.client, run)
    task.next_report()
    wait_for(lambda: world.a.backend.stats()["requests"] == 1)
    world.agent.stop()
    assert task.result() == (200, 100000)


def test_sigterm_does_not_wait_for_idle_connections(world):
    world.base()
    world.route("a", ONLY_A)
    world.start(drain_timeout=60000)

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.request()
            task.report()
            return c.at_eof()
    task = world.spawn(world.client, run)
    task.next_report()
    world.agent.stop(10)
    assert task.result() is True


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_frozen_new_connections_follow_the_policy(world, policy):
    world.base()
    world.route("a", ONLY_A)
    world.start(failure_policy=policy, heartbeat_limit=1000)
    assert routed(world)
    world.agent.freeze()

    def followed():
        code = world.client.call(connect, world.addr())
        if policy == "closed":
            return code == errno.EPERM
        return code == 0 and world.fetch(timeout=1).seen["pod"] != "a"
    wait_for(followed, what="the heartbeat to age")
    world.agent.thaw()
    wait_for(lambda: {world.fetch().seen["pod"] for _ in range(5)} == {"a"}, what="the agent to be back")


def test_frozen_for_a_moment_nothing_is_lost(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    task = world.load(keep_alive=True)
    world.agent.freeze()
    world.agent.thaw()
    result = task.stop_and_result()
    assert result.errors == [] and set(result.pods) == {"a"}, result


def test_kill_and_restart_under_load_costs_only_what_was_open(world):
    """Figures: requests whose connection the kill cut, and nothing else; a thread may meet the dying
    listener once more. At once afterwards new connections go through; none waits."""
    world.base()
    world.route("a", ONLY_A)
    world.start()
    threads = 4
    task = world.load(threads=threads)
    for _ in range(3):
        wait_for(lambda: world.a.backend.stats()["requests"] > 0)
        world.agent.kill()
        world.start()
        world.a.backend.reset()
    result = task.stop_and_result()
    print(f"three kills under load: {result}")
    assert result.n > 50
    assert set(result.statuses) == {200}, result
    assert len(result.errors) <= 3 * 2 * threads, result
    # What a client sees of a connection that the kill cut (it may be sending just then), or of a listener that went
    # between the hook's look and the handshake.
    cut = ("reset", "closed", "aborted", "broken pipe", "refused")
    assert all(any(word in e.lower() for word in cut) for _, e in result.errors), result.errors
    assert result.longest < 5, result


def test_restart_by_sigterm_under_load(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    task = world.load(threads=4)
    for _ in range(3):
        world.agent.stop()
        world.start()
    result = task.stop_and_result()
    print(f"three restarts under load: {result}")
    assert set(result.statuses) == {200}, result
    assert result.errors == [], result


def test_sigstop_under_load(world):
    world.base()
    world.route("a", ONLY_A)
    world.start(heartbeat_limit=500)
    task = world.load(threads=4, timeout=30)
    world.agent.freeze()
    wait_for(lambda: world.fetch(timeout=1).seen["pod"] != "a", what="new connections to go past the frozen agent")
    world.agent.thaw()
    wait_for(routed_again(world), what="the agent to be back")
    result = task.stop_and_result()
    print(f"frozen under load: {result}")
    assert result.errors == [] and set(result.statuses) == {200}, result


def routed_again(world):
    def check():
        return {world.fetch().seen["pod"] for _ in range(5)} == {"a"}
    return check


def test_established_connections_do_not_survive_a_kill(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.request()
            task.report()
            return c.at_eof()
    task = world.spawn(world.client, run)
    task.next_report()
    world.agent.kill()
    assert task.result() is True


def test_every_detour_is_counted(world):
    world.base()
    world.route("a", ONLY_A)
    world.start()
    world.agent.kill()
    for _ in range(5):
        world.fetch()
    world.start()
    metrics = world.metrics()
    assert metrics.sum("sluice_datapath_connects_total", reason="direct") == 5
    assert metrics.sum("sluice_datapath_connects_total", reason="no_listener") == 5


@pytest.mark.parametrize("shared", ["everything", "the pins alone"])
def test_a_second_agent_on_the_same_pins_is_refused(world, shared):
    """And the first goes on as if nothing had been."""
    world.base()
    world.route("a", ONLY_A)
    world.start()
    first = world.agent
    task = world.load()
    arguments = world.arguments()
    if shared != "everything":
        arguments.update({"--admin-socket": world.folder + "/second.sock", "--metrics": "off"})
    argv = [w for k, v in arguments.items() for w in (k, str(v))]
    second = Agent(world.fabric.node, world.folder + "/second.log", argv)
    world.fabric.agents.append(second)
    try:
        assert second.wait() != 0
        assert first.running()
        assert "another sluiced" in second.log(), second.log()
        with pytest.raises(AssertionError, match="stop it first"):
            world.uninstall()
    finally:
        if second.running():
            second.signal(signal.SIGKILL)
            second.wait()
    result = task.stop_and_result()
    assert result.errors == [] and set(result.pods) == {"a"}, result
