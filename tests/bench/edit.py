#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the rename of a file to the first answer that shows it, through the real agent, under load.

Thousands of HTTPRoutes on one Service, a file each. One client edits routes and endpoints and asks until
the answer is another; wrk and further clients load the same Service meanwhile, and none of their requests
may fail. SLUICE_BUILD names the build folder (buildtype release). Needs root, cgroup2, wrk."""
import argparse
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from harness import manifests as m  # noqa: E402
from harness import netns, rawhttp  # noqa: E402
from harness.fabric import Fabric  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from harness.world import World  # noqa: E402

PATIENCE_S = 10


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--routes", type=int, default=10000)
    p.add_argument("--edits", type=int, default=50)
    p.add_argument("--pause", type=float, default=0.1, help="seconds between two edits")
    p.add_argument("--no-load", action="store_true")
    p.add_argument("--one-file", action="store_true", help="all routes in one file, which is read whole")
    return p.parse_args()


def route(i, backend):
    return m.route(f"r{i}", [m.rule(m.exact(f"/items/{i}"), backend)])


def put(folder, file, text):
    """In place at once, as editors and git do; returns when that was."""
    hidden = os.path.join(folder, "." + file)
    with open(hidden, "w") as f:
        f.write(text)
    begin = time.monotonic()
    os.rename(hidden, os.path.join(folder, file))
    return begin


def ask_until(conn, target, pod, begin):
    """Milliseconds until that pod answers; every answer has to be a good one."""
    while True:
        r = conn.request(target=target)
        assert r.status == 200, r
        now = time.monotonic()
        if r.get("X-Pod") == pod:
            return (now - begin) * 1000
        assert now - begin < PATIENCE_S, f"{target} is still answered by {r.get('X-Pod')}"


def edit_routes(addr, folder, o, pods):
    times = []
    with rawhttp.Conn(addr) as conn:
        if o.one_file:
            backends = ["a"] * o.routes
        for n in range(o.edits):
            i = random.randrange(o.routes)
            to = "b" if n % 2 == 0 else "c"
            if o.one_file:
                backends[i] = to
                text, file = m.documents([route(k, b) for k, b in enumerate(backends)]), "routes.yaml"
            else:
                text, file = m.documents([route(i, to)]), f"route-{i}.yaml"
            times.append(ask_until(conn, f"/items/{i}", pods[to], put(folder, file, text)))
            time.sleep(o.pause)
    return times


def edit_endpoints(addr, folder, o, slices):
    """A Service's only endpoint goes from one pod to another."""
    times = []
    with rawhttp.Conn(addr) as conn:
        for n in range(o.edits):
            pod, text = slices[n % 2]
            times.append(ask_until(conn, "/", pod, put(folder, "moving.yaml", text)))
            time.sleep(o.pause)
    return times


def show(what, times):
    times = sorted(times)
    at = {q: times[min(len(times) - 1, int(len(times) * q / 100))] for q in (50, 90, 99)}
    print(f"{what:34} min {times[0]:6.1f}  median {at[50]:6.1f}  p90 {at[90]:6.1f}  p99 {at[99]:6.1f}  "
          f"max {times[-1]:6.1f} ms", flush=True)


class Load:
    """wrk on one route, and clients that look at each answer."""

    def __init__(self, world, seconds):
        host = "%s:%d" % world.addr("web")
        self.wrk = world.client.popen(["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency",
                                       f"http://{host}/items/1"],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.clients = world.load(threads=2, keep_alive=True, target="/items/2")

    def end(self):
        clients = self.clients.stop_and_result()
        text = self.wrk.communicate(timeout=120)[0]
        bad = re.findall(r"(Socket errors.*|Non-2xx.*)", text)
        rate = re.search(r"Requests/sec:\s+(\S+)", text).group(1)
        p99 = re.search(r"99%\s+(\S+)", text).group(1)
        print(f"load: wrk {rate} requests/s, p99 {p99}, failed: {bad or 'none'}; {clients}")
        assert not bad and not clients.errors and set(clients.statuses) == {200}, "requests failed"


def write_world(world, o):
    world.base()
    routes = [route(i, "a") for i in range(o.routes)]
    if o.one_file:
        world.write("routes.yaml", routes)
    else:
        for i, r in enumerate(routes):
            world.write(f"route-{i}.yaml", r)
    world.vips["moving"] = ("10.96.0.40", "fd00:96::40")
    world.write("moving-service.yaml", [m.service("moving", world.vips["moving"])])
    world.write("moving.yaml", [m.endpoint_slice("moving", [world.a])])
    world.write("moving-route.yaml", m.route("moving", [m.rule(None, "moving")], ["moving"]))


def start(world, o):
    begin = time.monotonic()
    world.start(log_level="warn")
    wait_for(lambda: world.fetch(target=f"/items/{o.routes - 1}", timeout=5).status == 200, 60, what="the last route")
    print(f"{o.routes} routes {'in one file' if o.one_file else 'in as many files'}: started and in force in "
          f"{time.monotonic() - begin:.1f} s, {world.agent.rss_bytes() / 1e6:.0f} MB")


def run(world, o):
    write_world(world, o)
    start(world, o)
    seconds = int(2 * o.edits * (o.pause + (1.0 if o.one_file else 0.1))) + 5
    load = None if o.no_load else Load(world, seconds)
    pods = {"b": world.b.name, "c": world.c.name}
    slices = [(p.name, m.documents([m.endpoint_slice("moving", [p])])) for p in (world.b, world.a)]
    cpu = world.agent.cpu_seconds()
    show("route, rename to first answer", world.client.call(edit_routes, world.addr("web"), world.config, o, pods,
                                                            timeout=300))
    show("endpoint, rename to first answer", world.client.call(edit_endpoints, world.addr("moving"), world.config,
                                                               o, slices, timeout=300))
    if load:
        load.end()
    else:
        spent = (world.agent.cpu_seconds() - cpu) * 1000 / (2 * o.edits)
        print(f"processor time of the agent for one edit, with its polling client: {spent:.2f} ms")
    world.agent.check_log()


def main():
    o = parse()
    # A mount namespace of our own: what is mounted here goes with us.
    netns.unshare(netns.CLONE_NEWNS)
    netns.mount(None, "/", None, netns.MS_REC | netns.MS_PRIVATE)
    fabric = Fabric()
    try:
        fabric.bpffs = os.path.join(fabric.folder, "bpf")
        os.mkdir(fabric.bpffs)
        netns.mount("bpf", fabric.bpffs, "bpf")
        pods = {"client": fabric.pod("client"), "alien": fabric.pod("alien", "other")}
        pods.update({name: fabric.pod(name, serve=True) for name in "abc"})
        for name in "abc":
            pods[name].backend.wait_ready()
        world = World(fabric, pods)
        failed = True
        try:
            run(world, o)
            failed = False
        finally:
            world.close(failed)
    finally:
        fabric.close()


if __name__ == "__main__":
    main()
