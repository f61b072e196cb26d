# SPDX-License-Identifier: Apache-2.0
"""One agent takes over from another under load: no request fails, no connection closes; and when the new one fails,
the old one goes on."""
import json
import os
import re
import signal
import socket
import struct
import threading
import time

import pytest

from harness import manifests as m, rawhttp, takeover
from harness.agent import binary
from harness.wait import scaled, wait_for

import test_websocket as websocket

ONLY_A = [m.rule(m.path("/"), "a")]
UPGRADES = 20


def routed(world):
    r = world.fetch()
    return r.status == 200 and r.seen["pod"] == "a"


# clients, each a process in the pod


def idle(task, addr, n):
    """n connections that have had a request and wait; told to stop, each has another one. Returns how many were closed
    meanwhile, and how many of the last requests failed."""
    conns = []
    for i in range(n):
        c = rawhttp.Conn(addr, timeout=30)
        assert c.request(target=f"/{i}").status == 200
        conns.append(c)
    silent = [rawhttp.Conn(addr, timeout=30) for _ in range(3)]  # have not said a word
    task.report()
    task.wait_stop(600)
    closed = failed = 0
    for c in conns + silent:
        c.sock.setblocking(False)
        try:
            closed += c.sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            pass
        c.sock.settimeout(scaled(30))
        try:
            failed += c.request().status != 200
        except (OSError, AssertionError) as e:
            failed += 1
            print(e)
    return closed, failed


def pipelining(task, addr):
    """Requests in pairs, the second on its way before the first is answered, cut at odd places."""
    conn = rawhttp.Conn(addr, timeout=30)
    n = 0
    task.report()
    while not task.stopping():
        first, second = (rawhttp.build(target=f"/{n}/{i}") for i in (1, 2))
        conn.send(first + second[:20])
        time.sleep(0.002)
        conn.send(second[20:])
        for i in (1, 2):
            assert conn.read_response().seen["target"] == f"/{n}/{i}"
        n += 1
    return n


def tunnel(task, addr):
    """Bytes of a known pattern through a tunnel and back, in order."""
    sock = socket.create_connection(addr)
    sock.settimeout(scaled(30))
    sock.sendall(b"\x16\x03\x01tunnel")
    assert sock.recv(9, socket.MSG_WAITALL) == b"\x16\x03\x01tunnel"
    sent = got = 0
    task.report()
    block = bytes(i * 7 % 251 for i in range(251 * 400))
    done = threading.Event()

    def send():
        nonlocal sent
        while not done.is_set():
            sock.sendall(block)
            sent += len(block)
        sock.shutdown(socket.SHUT_WR)
    writer = threading.Thread(target=send)
    writer.start()
    while True:
        data = sock.recv(65536)
        if not data:
            break
        at = got % len(block)
        assert data == (block + block)[at:at + len(data)], f"other bytes at {got}"
        got += len(data)
        if task.stopping():
            done.set()
    writer.join()
    return sent, got


def slow(task, addr):
    """Requests whose answers take longer than an upgrade."""
    conn = rawhttp.Conn(addr, timeout=60)
    n = 0
    task.report()
    while not task.stopping():
        r = conn.request(target="/?size=30000&chunk=3000&pause=40")
        assert r.status == 200 and len(r.body) == 30000, r
        n += 1
    return n


def wrk(world, seconds, n_conns=32):
    """In the pod, through its own wrk(1): its counts of requests and of whatever went wrong."""
    argv = ["wrk", "-t1", f"-c{n_conns}", f"-d{seconds}s", "--timeout", "30s", "http://%s:%d/" % world.addr()]
    return world.client.popen(argv, stdout=-1, text=True)


def wrk_result(process):
    out, _ = process.communicate(timeout=scaled(120))
    n = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.findall(r"Non-2xx.*|Socket errors.*", out)
    return n, bad


class Clients:
    """All of them at once; end() asks for what they saw, and judges it."""

    def __init__(self, world, with_wrk=True):
        world.add_service("bytes", [world.b], [m.port(80, 9000, "any")], vip=("10.96.0.60", "fd00:96::60"))
        world.route("bytes", [m.rule(backends="a")], parents=["bytes"])
        world.wait_answer(lambda r: r.status == 200, "the Service", target="/")
        wait_for(lambda: world.client.call(speaks, world.addr("bytes")), what="the tunnel's Service")
        web, raw = world.addr(), world.addr("bytes")
        self.tasks = {fn.__name__: world.spawn(world.client, fn, *args) for fn, args in (
            (idle, (web, 50)), (pipelining, (web,)), (slow, (web,)), (tunnel, (raw,)), (chat, (web,)))}
        for task in self.tasks.values():
            task.next_report()
        self.fresh = world.load(threads=3)
        self.kept = world.load(threads=3, keep_alive=True)
        self.wrk = wrk(world, 600) if with_wrk else None

    def end(self):
        n, bad = 0, []
        if self.wrk:
            self.wrk.send_signal(signal.SIGINT)
            n, bad = wrk_result(self.wrk)
        results = {name: task.stop_and_result(90) for name, task in self.tasks.items()}
        fresh, kept = self.fresh.stop_and_result(), self.kept.stop_and_result()
        seen = f"wrk {n} requests {bad}, new connections {fresh}, kept ones {kept}, {results}"
        assert not bad and (n > 100 or not self.wrk), seen
        for load in (fresh, kept):
            assert load.errors == [] and set(load.statuses) == {200} and set(load.pods) == {"a"}, seen
        assert results["idle"] == (0, 0), seen
        assert results["pipelining"] > 1 and results["slow"] >= 1, seen
        sent, got = results["tunnel"]
        assert sent == got > 0, seen
        assert results["chat"] > 0, seen
        return seen


def speaks(addr):
    with rawhttp.Conn(addr, timeout=2) as c:
        return c.send(b"\x16\x03\x01").read_exact(3) == b"\x16\x03\x01"


def chat(task, addr):
    """An upgraded connection."""
    c = rawhttp.Conn(addr, timeout=30)
    assert c.request(target="/ws", headers=websocket.HEADERS).status == 101
    n = 0
    task.report()
    while not task.stopping():
        data = b"%d" % n * 50
        c.send(websocket.frame(1, data))
        assert websocket.read_frame(c) == (1, data)
        n += 1
        time.sleep(0.01)
    return n


def begin(world, *extra, **options):
    world.base()
    world.route("a", ONLY_A)
    world.start(*extra, **{"drain_timeout": 20000, **options})
    assert routed(world)


def conns_of(world):
    return int(world.metrics().sum("sluice_connections_active"))


# upgrades that work


def test_upgrades_in_a_row_under_load_lose_nothing(world):
    begin(world)
    clients = Clients(world)
    begun = time.monotonic()
    for _ in range(UPGRADES):
        world.upgrade(drain_timeout=20000)
    took = time.monotonic() - begun
    print(f"{UPGRADES} upgrades in {took:.1f} s: {clients.end()}")


def test_a_connection_keeps_its_identity(world):
    begin(world)

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.request(target="/before")
            task.report()
            task.wait_stop()
            r = c.request(target="/after")
            return r.seen["peer"][0], c.sock.getpeername()
    task = world.spawn(world.client, run)
    task.next_report()

    def described():
        c, = world.ctl("conns")["connections"]
        return {k: c[k] for k in ("id", "client", "original", "pod", "service", "requests") if k in c}
    before = wait_for(described)
    world.upgrade()
    assert wait_for(described) == before
    assert task.stop_and_result() == (world.client.v4, world.addr())
    world.agent.stop()
    mine = [r for r in world.access_records() if r["path"] == "/after"]
    assert [(r["source_pod"], r["client"].split(":")[0], r["service"]) for r in mine] == \
        [("client", world.client.v4, "shop/web:80")]


def test_pooled_connections_go_along(world):
    # Declared, so that nothing is dialled in case the server speaks first.
    world.add_service("declared", [world.a], [m.port(80, 8080, "http", app_protocol="http")],
                      vip=("10.96.0.62", "fd00:96::62"))
    world.route("declared", [m.rule(backends="declared")], ["declared"])
    begin(world, workers=1)
    for _ in range(3):
        assert world.fetch(service="declared").status == 200
    before = world.a.backend.stats()["accepted"]
    world.upgrade(workers=1)
    wait_for(lambda: world.metrics().sum("sluice_upstream_pool", state="idle") >= 1)
    for _ in range(3):
        assert world.fetch(service="declared").status == 200
    assert world.a.backend.stats()["accepted"] == before


def test_the_answers_that_began_end_in_the_old_agent(world):
    begin(world)

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.send(rawhttp.build(target="/?size=100000&chunk=10000&pause=150"))
            task.report()
            first = c.read_response()
            second = c.request()
            return first.status, len(first.body), first.get("Connection"), second.status
    task = world.spawn(world.client, run)
    task.next_report()
    wait_for(lambda: world.a.backend.stats()["requests"] == 2)
    old, new = world.agent, world.launch("--takeover")
    new.wait_log("took|ready")
    wait_for(lambda: routed(world))
    assert old.running()
    assert task.result() == (200, 100000, None, 200)
    assert old.wait() == 0
    world.agent = new


def test_what_outlives_the_drain_timeout_is_cut(world):
    begin(world, drain_timeout=300)

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.send(rawhttp.build(target="/?size=100000&chunk=1000&pause=300"))
            c.read_head()
            task.report()
            try:
                c.read_to_eof()
            except ConnectionResetError:
                return "reset"
    task = world.spawn(world.client, run)
    task.next_report()
    world.upgrade()
    assert task.result() == "reset"


def test_the_new_configuration_counts(world):
    begin(world)
    world.route("a", [m.rule(m.path("/"), "b")])
    wait_for(lambda: world.fetch().seen["pod"] == "b")
    hold = world.load(keep_alive=True)
    world.upgrade()
    world.route("a", [m.rule(m.path("/"), "c")])
    wait_for(lambda: world.fetch().seen["pod"] == "c", what="the new agent to follow the folder")
    assert hold.stop_and_result().errors == []
    assert set(world.pods_of(3)) == {"c"}


def test_pods_that_come_and_go_meanwhile(world):
    begin(world)
    early = world.pod("early")
    world.wait_ready()
    assert world.fetch(pod=early).seen["pod"] == "a"
    new = world.launch("--takeover")
    late = world.pod("late")
    world.fabric.forget(early)
    world.extra_pods.remove(early)
    assert world.agent.wait() == 0
    world.agent = new
    world.wait_ready()
    assert world.fetch(pod=late).seen["pod"] == "a"


def test_who_lingers_ends_with_sigterm(world):
    begin(world, "--linger")
    old, new = world.agent, world.launch("--takeover")
    old.wait_log("waiting for SIGTERM")
    world.agent = new
    assert old.running() and routed(world)
    old.stop()
    assert routed(world)


def test_nobody_to_take_over_from(world):
    world.base()
    world.route("a", ONLY_A)
    world.start("--takeover")
    assert routed(world)
    world.agent.kill()
    world.start("--takeover")
    assert routed(world)


def test_without_the_option_a_second_agent_is_refused(world):
    begin(world)
    second = world.launch()
    assert second.wait() == 1
    assert "another sluiced" in second.log()
    assert routed(world)


def test_sigterm_while_it_hands_over(world):
    """As the kubelet does it to the old pod of a surge: once the new one is ready."""
    begin(world)
    clients = Clients(world, with_wrk=False)
    old, new = world.agent, world.launch("--takeover")
    new.wait_log("took over|configuration in force")
    wait_for(lambda: "the next process serves" in old.log())
    if old.running():
        old.signal(signal.SIGTERM)
    assert old.wait(30) == 0
    world.agent = new
    clients.end()


def test_nothing_leaks(world):
    begin(world)
    task = world.spawn(world.client, idle, world.addr(), 20)
    task.next_report()
    world.upgrade()
    wait_for(lambda: conns_of(world) == 23)
    fds = world.agent.n_fds()
    maps = kernel_objects(world)
    for _ in range(5):
        world.upgrade()
    wait_for(lambda: conns_of(world) == 23)
    assert abs(world.agent.n_fds() - fds) <= 2
    wait_for(lambda: kernel_objects(world) == maps, what="the old programs to go")
    assert task.stop_and_result() == (0, 0)


def kernel_objects(world):
    """Names of the programs attached, how many maps they use, and what is pinned."""
    def bpftool(*argv):
        return json.loads(world.fabric.node.run(["bpftool", "-j", *argv]).stdout.strip() or "[]")
    attached = bpftool("cgroup", "show", world.fabric.cgroup.path)
    used = {i for a in attached for i in bpftool("prog", "show", "id", str(a["id"])).get("map_ids", [])}
    return sorted(a["name"] for a in attached), len(used), sorted(os.listdir(world.bpffs))


# upgrades that fail


class Impostor:
    """A process that speaks the protocol up to a point; the agent may kill it."""

    def __init__(self, world, fn, timeout=10):
        def run(task):
            p = takeover.Peer.connect(world.socket + ".handover", timeout=timeout)
            result = fn(p, world.bpffs)
            task.report(result)
            task.wait_stop(60)
            os._exit(0)  # and what it has is closed by the kernel, as when it is killed
        self.task = world.spawn(world.fabric.node, run)
        self.result = self.task.next_report(timeout + 30)

    def die(self):
        self.task.kill()


def hello(p, pins):
    p.hello(pins)


def offered(p, pins):
    p.hello(pins)
    p.until(takeover.OFFERED)


def prepared(p, pins):
    offered(p, pins)
    p.send(takeover.PREPARED)
    p.until(takeover.GO)


def active(p, pins):
    prepared(p, pins)
    p.send(takeover.ACTIVE)


def with_connections(p, pins):
    """It has got them, and not said so."""
    active(p, pins)
    p.until(takeover.HANDED)


def refuse(p, pins):
    prepared(p, pins)
    p.send(takeover.REFUSE, {1: b"the test says no"})


def babble(p, pins):
    try:
        p.send(takeover.HELLO, {})
        p.sock.sendall(b"\xff" * 5000)
    except BrokenPipeError:
        pass  # the first of it was enough


def acts(world):
    """The agent is as it was: its listener accepts, its maps follow the folder, its sockets answer."""
    wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid, what="the old agent to answer")
    assert routed(world)
    assert world.agent.running()
    world.route("a", [m.rule(m.path("/more"), "b"), m.rule(m.path("/"), "a")])
    wait_for(lambda: world.fetch("/more").seen["pod"] == "b", what="the old agent to follow the folder")
    world.add_service("late", [world.c], vip=("10.96.0.61", "fd00:96::61"))
    world.route("late", [m.rule(backends="c")], parents=["late"])
    wait_for(lambda: world.fetch(service="late", timeout=1).seen["pod"] == "c", what="the kernel to learn of it")


def goes_on(world, clients):
    """The agent that stayed serves as before, can be upgraded, and nobody has noticed anything."""
    acts(world)
    world.upgrade(drain_timeout=20000)
    clients.end()


@pytest.mark.parametrize("stage", [hello, offered, prepared, active, with_connections, refuse, babble])
def test_a_new_agent_that_dies(world, stage):
    begin(world)
    clients = Clients(world)
    for _ in range(3):
        Impostor(world, stage).die()
        wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid, what="the old agent to answer")
    goes_on(world, clients)


def test_a_new_agent_that_hangs(world):
    """It is ended, so that it cannot come back to write where another writes."""
    begin(world)
    clients = Clients(world, with_wrk=False)
    impostor = Impostor(world, prepared)
    wait_for(lambda: "it took too long" in world.agent.log(), 20)
    _, status = os.waitpid(impostor.task.pid, 0)
    impostor.task.pid = 0
    assert os.WTERMSIG(status) == signal.SIGKILL
    goes_on(world, clients)


SERVES = "serving in place of the process before"
STUCK = "the process before does not say that it accepts no more"


def test_a_new_agent_that_is_killed(world):
    """At whatever stage it is, before it serves. It stands still meanwhile, so that it does not begin to."""
    begin(world)
    clients = Clients(world)
    n_killed = 0
    for delay in range(0, 300, 20):
        new = world.launch("--takeover", drain_timeout=20000)
        time.sleep(scaled(delay / 1000))
        new.freeze()
        if SERVES in new.log():
            new.thaw()
            assert world.agent.wait(30) == 0
            world.agent = new
            continue
        new.kill()
        n_killed += 1
        wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid)
    assert n_killed > 2
    goes_on(world, clients)


def launch_through(world, change):
    """A process that takes over through a relay, whose frames change() may change."""
    path = f"{world.socket}.relay-{len(world.agents)}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def run(task):
        takeover.relay(listener, world.socket + ".handover", change)
    world.spawn(world.fabric.node, run)
    listener.close()
    return world.launch("--takeover", "--handover-socket", path, drain_timeout=20000)


def test_a_new_agent_that_is_killed_when_it_could_serve(world):
    """It has the maps and its programs run, and it waits for the old one to accept no more."""
    begin(world)
    clients = Clients(world)

    def change(frame, peer):
        if frame.kind != takeover.ACTIVE:
            return frame.kind, frame.body
        time.sleep(0.1)  # it would accept some of the load's connections meanwhile
        pid, = struct.unpack_from("i", peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGKILL)
    for _ in range(3):
        new = launch_through(world, change)
        assert new.wait() == -signal.SIGKILL
        assert SERVES not in new.log()
        wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid)
    goes_on(world, clients)


def test_an_old_agent_of_the_first_protocol(world):
    """It does not say that it accepts no more."""
    begin(world)
    clients = Clients(world, with_wrk=False)

    def change(frame, _):
        if frame.kind == takeover.HELLO:
            return frame.kind, takeover.body_of({**frame.fields, 1: takeover.number(1, 4)})
        return None if frame.kind == takeover.YOURS else (frame.kind, frame.body)
    new = launch_through(world, change)
    assert world.agent.wait(30) == 0
    new.wait_log("took over")
    assert SERVES in new.log() and STUCK not in new.log()
    world.agent = new
    clients.end()


def test_an_old_agent_that_is_stuck(world):
    """The new one serves all the same, and is given the connections when the old one goes on."""
    begin(world)
    clients = Clients(world, with_wrk=False)
    log = os.path.join(world.folder, f"agent-{len(world.agents)}.log")

    def change(frame, _):
        if frame.kind == takeover.ACTIVE:
            with open(log) as f:
                wait_for(lambda: f.seek(0) or STUCK in f.read())
        return frame.kind, frame.body
    new = launch_through(world, change)
    assert world.agent.wait(30) == 0
    world.agent = new
    clients.end()


@pytest.mark.parametrize("options, says", [
    ({"config": "/nonexistent"}, "configuration folder"),
    ({"cgroup": "/nonexistent"}, "cgroup"),
    ({"access_log": "/nonexistent/log"}, "access_log"),
])
def test_a_new_agent_that_cannot_start(world, options, says):
    begin(world)
    load = world.load(keep_alive=True)
    new = world.launch("--takeover", **options)
    assert new.wait() == 1
    assert says in new.log()
    result = load.stop_and_result()
    assert result.errors == [] and set(result.pods) == {"a"}, result
    assert world.agent.running() and routed(world)


def test_a_new_agent_that_cannot_have_its_port(world):
    """Seen late: when the kernel's maps are its already."""
    begin(world)
    load = world.load(keep_alive=True)

    def occupy(task):
        with socket.create_server(("127.0.0.1", 15099)):
            task.report()
            task.wait_stop()
    task = world.spawn(world.fabric.node, occupy)
    task.next_report()
    new = world.launch("--takeover", metrics="127.0.0.1:15099")
    assert new.wait() == 1
    assert "15099" in new.log()
    task.stop()
    wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid)
    result = load.stop_and_result()
    assert result.errors == [] and set(result.pods) == {"a"}, result
    assert world.agent.running() and routed(world)
    world.upgrade()
    assert routed(world)


def test_another_folder_of_pins_is_refused(world):
    begin(world)
    new = world.launch("--takeover", bpffs=world.bpffs + "-other")
    assert new.wait() == 1
    assert "--bpffs" in new.log()
    assert routed(world)


def test_an_old_agent_that_is_killed(world):
    """New connections are served by the new one, at whatever stage it was; those that the old one had are lost."""
    begin(world)
    for delay in range(0, 200, 25):
        new = world.launch("--takeover")
        time.sleep(scaled(delay / 1000))
        world.agent.kill()
        world.agent = new
        world.wait_ready()
        wait_for(lambda: routed(world))


def test_an_old_agent_that_is_killed_when_connections_were_given(world):
    begin(world)
    task = world.spawn(world.client, idle, world.addr(), 20)
    task.next_report()

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.send(rawhttp.build(target="/?size=100000&chunk=1000&pause=300"))
            c.read_head()
            task.report()
            task.wait_stop()
    busy = world.spawn(world.client, run)
    busy.next_report()
    new = world.launch("--takeover")
    wait_for(lambda: "the next process serves" in world.agent.log())
    wait_for(lambda: conns_of(world) == 23)
    world.agent.kill()
    world.agent = new
    assert task.stop_and_result() == (0, 0)
    busy.kill()


# other versions


def test_the_protocol_of_a_later_version(world):
    """Fields and frames that this version does not know are passed over."""
    begin(world)
    def later(p, pins):
        p.hello(pins, version=7, more={900: b"new", 901: bytes(1000)})
        p.send(77, {1: b"what is this"})
        frames = p.until(takeover.OFFERED)
        return [f.kind for f in frames], sum(len(f.fds) for f in frames if f.kind == takeover.SOURCE)
    kinds, n_listeners = Impostor(world, later).result
    assert kinds[0] == takeover.HELLO and kinds.count(takeover.SOCKET) == 3
    n_pods = len([p for p in world.fabric.pods if p.exists])
    assert kinds.count(takeover.SOURCE) == n_pods + 1 and n_listeners >= 2 * n_pods
    assert routed(world)


def test_the_protocol_of_a_version_that_cannot_be_spoken(world):
    begin(world)
    def foreign(p, pins):
        p.hello(pins, version=9, min_version=9)
        return p.until(takeover.REFUSE)[-1].text(1)
    assert "protocol" in Impostor(world, foreign).result
    assert routed(world)


def test_only_one_at_a_time(world):
    begin(world)
    first = Impostor(world, offered)
    second = Impostor(world, lambda p, pins: p.until(takeover.REFUSE)[-1].text(1))
    assert "about to take over" in second.result
    first.die()
    world.upgrade()
    assert routed(world)


def test_the_socket_is_for_root_alone(world):
    begin(world)
    path = world.socket + ".handover"
    assert os.stat(path).st_mode & 0o777 == 0o600

    # As it would be for somebody who got at it all the same.
    os.chmod(path, 0o666)
    for folder in (world.folder, world.fabric.folder):
        os.chmod(folder, 0o755)

    def stranger():
        os.setgid(65534)
        os.setuid(65534)
        return takeover.Peer.connect(path).until(takeover.REFUSE)[-1].text(1)
    assert "not allowed" in world.fabric.node.call(stranger)


def test_an_agent_with_other_maps(world):
    """Its maps cannot be the old one's: programs and maps of both are there for a while."""
    begin(world)
    other = binary("sluiced_other_abi")
    clients = Clients(world)

    def run(task):
        with rawhttp.Conn(world.addr()) as c:
            c.request()
            task.report()
            task.wait_stop()
            return c.sock.getpeername(), c.request().status
    named = world.spawn(world.client, run)
    named.next_report()
    world.upgrade(program=other, drain_timeout=20000)
    assert named.stop_and_result() == (world.addr(), 200), "the programs that know its socket are still there"
    for program in (None, other):
        world.upgrade(program=program, drain_timeout=20000)
        assert routed(world)
    world.wait_ready()
    print(clients.end())
    world.upgrade(program=other)  # the same maps again
    assert routed(world)


def test_an_agent_with_other_maps_that_fails(world):
    begin(world)
    before = kernel_objects(world)
    clients = Clients(world)
    new = world.launch("--takeover", metrics="192.0.2.1:1", program=binary("sluiced_other_abi"))
    assert new.wait() == 1
    wait_for(lambda: world.ctl("status")["pid"] == world.agent.pid)
    wait_for(lambda: kernel_objects(world) == before, what="the programs of the new one to go")
    clients.end()
    world.upgrade()
    assert routed(world)
