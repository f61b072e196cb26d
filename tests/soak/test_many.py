# SPDX-License-Identifier: Apache-2.0
"""65,536 connections at a time from four pods, each used before and after all of them stand; fewer where not even
root may have so many descriptors, as in some containers. tests/kernels has the same for the programs alone."""
import os
import resource
import socket

import pytest

from harness import apps, manifests as m, spliced
from harness.agent import memory_budget
from harness.wait import wait_for

PODS, EACH, BATCH, SPARE = 4, 16384, 64, 1500
PORT, BODY = 7000, 100
PER_CONN = 8 << 10  # of the agent, kept open and idle


def descriptors():
    """As many as may be, and of those as many as are wanted."""
    want = PODS * EACH * 4 // 3 + SPARE  # a pod leaves as many to others as it has
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(want, hard)))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return want
    except (ValueError, PermissionError):
        return min(want, hard)


def hold(task, addr, n):
    """n connections; every one asks once when it is new and once when all stand."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + 100, n + 100))
    ask = b"GET /down/%d HTTP/1.1\r\nHost: many\r\n\r\n" % BODY
    right = apps.pattern(BODY)

    def exchange(conns):
        for s in conns:
            s.sendall(ask)
        for s in conns:
            data = b""
            while not data.endswith(right):
                part = s.recv(4096)
                assert part and data.startswith(b"HTTP/1.1 200 ") | (not data), data
                data += part
    conns = []
    while len(conns) < n:
        batch = [socket.create_connection(addr, 60) for _ in range(BATCH)]
        exchange(batch)
        conns += batch
    task.report(len(conns))
    task.wait_stop(600)
    for i in range(0, n, BATCH):
        exchange(conns[i:i + BATCH])
    return len(conns)


@pytest.mark.parametrize("cookies", [1, 2], ids=["plain", "SYN cookies"])
def test_many_connections(world, fabric, cookies):
    """cookies 2: every SYN is answered with a cookie, also when nothing is scarce."""
    def always():
        with open("/proc/sys/net/ipv4/tcp_syncookies", "w") as f:
            f.write(str(cookies))
    n_files = descriptors()
    each = min(EACH, (n_files - SPARE) * 3 // 4 // PODS // BATCH * BATCH)
    world.base()
    server = world.pod("server")
    files = apps.Builder(fabric.folder).files()
    argv = apps.nginx(world.folder, f"{server.v4}:{PORT}", f"{server.v4}:1", files)
    nginx = apps.Process(server, argv, server.v4, PORT, os.path.join(world.folder, "nginx.log"))
    try:
        world.add_service("many", [server], [m.port(80, PORT, "http", "http")])
        world.route("many", [m.rule(backends="many")], parents=["many"])
        pods = [world.pod(f"many{i}") for i in range(PODS)]
        for pod in pods:
            pod.call(always)
        world.start(wrapper=["prlimit", f"--nofile={n_files}"])
        wait_for(lambda: world.fetch(service="many", target=f"/down/{BODY}", timeout=1).status == 200, 20,
                 what="the route")
        rss = world.agent.rss_bytes()
        with spliced.shown(world, "many connections"):
            tasks = [world.spawn(pod, hold, world.addr("many"), each) for pod in pods]
            assert [t.next_report(300) for t in tasks] == [each] * PODS
            assert world.metrics().sum("sluice_connections_active") >= PODS * each
            grown = (world.agent.rss_bytes() - rss) / (PODS * each)
            print(f"{PODS * each} connections: {grown / 1024:.1f} KiB of the agent each")
            for t in tasks:
                t.stop()
            assert [t.result(300) for t in tasks] == [each] * PODS
        assert grown < memory_budget(PER_CONN)
        wait_for(lambda: world.metrics().sum("sluice_connections_active") == 0, 60, what="all to be closed")
    finally:
        nginx.stop()
