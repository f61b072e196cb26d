#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A large cluster: thousands of Services, endpoints and routes from an API server of the harness, whose lists are made
beforehand. How long until all of it is in force, how much memory it takes, and how long a change of one endpoint
takes from the moment that the server has written the event to the first answer that shows it. SLUICE_BUILD names the
build folder (buildtype release). Needs root, cgroup2. No status is written: the Lease is refused."""
import argparse
import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from edit import ask_until, show  # noqa: E402
from harness import manifests as m  # noqa: E402
from harness import netns, rawhttp  # noqa: E402
from harness.fabric import Fabric  # noqa: E402
from harness.kube_api import Api  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from harness.world import World  # noqa: E402


class Endpoint:
    """What a slice needs of a Pod; nobody is there."""
    namespace, v6 = "shop", None

    def __init__(self, n):
        self.name, self.v4 = f"p{n}", f"10.{128 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--services", type=int, default=10000)
    p.add_argument("--endpoints", type=int, default=5, help="of each Service")
    p.add_argument("--routes", type=int, default=5000)
    p.add_argument("--edits", type=int, default=50)
    return p.parse_args()


def fill(api, world, o):
    objects = [m.namespace("shop")]
    for i in range(o.services):
        objects.append(m.service(f"s{i}", f"10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"))
        objects.append(m.endpoint_slice(f"s{i}", [Endpoint(i * o.endpoints + k) for k in range(o.endpoints)]))
    for i in range(o.routes):
        objects.append(m.route(f"r{i}", [m.rule(m.path("/a"), [m.backend(f"s{(i + 1) % o.services}")]),
                                         m.rule(backends=[m.backend(f"s{i % o.services}")])],
                               [f"s{i % o.services}"]))
    world.vips["moving"] = ("10.96.0.40", "fd00:96::40")
    objects += [m.service("moving", world.vips["moving"]), m.route("moving", [m.rule(None, "moving")], ["moving"]),
                m.endpoint_slice("moving", [world.a])]
    api.apply(*objects)
    api.make_pages()
    api.lease_fault = 403
    return sum(len(page) for page in api.pages.values())


def start(world, api):
    begin = time.monotonic()
    agent = world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self", wait=False)
    while "configuration in force" not in agent.log():
        assert agent.running() and time.monotonic() - begin < 120, agent.log()[-2000:]
        time.sleep(0.005)
    return time.monotonic() - begin


def memory(agent):
    with open(f"/proc/{agent.process.pid}/status") as f:
        return {name: int(kb) / 1024 for name, kb in re.findall(r"Vm(HWM|RSS):\s+(\d+) kB", f.read())}


def edits(world, api, n):
    """A Service's only endpoint goes from one pod to another: asked for by the process that looks for the answer."""
    wanted, asked = os.pipe()
    told, tell = os.pipe()

    def serve():
        for i in range(n):
            os.read(wanted, 1)
            slice_ = m.endpoint_slice("moving", [world.b if i % 2 == 0 else world.a])
            api.apply(slice_)
            told = wait_for(lambda: api.told.pop("endpointslices", None), interval=0.0005, what="the event to be written")
            os.write(tell, b"%20.9f" % told)

    def ask(addr, names):
        times = []
        with rawhttp.Conn(addr) as conn:
            for i in range(n):
                os.write(asked, b"n")
                times.append(ask_until(conn, "/", names[i % 2], float(os.read(told, 20))))
        return times
    thread = threading.Thread(target=serve)
    thread.start()
    times = world.client.call(ask, world.addr("moving"), (world.b.name, world.a.name), timeout=120)
    thread.join()
    return times


def run(world, fabric, o):
    api = Api(fabric.node, world.folder)
    size = fill(api, world, o)
    api.start()
    try:
        seconds = start(world, api)
        used, cpu = memory(world.agent), world.agent.cpu_seconds()
        print(f"{o.services} Services, {o.services * o.endpoints} endpoints, {o.routes} routes, {size / 1e6:.0f} MB of lists: "
              f"in force in {seconds:.1f} s, {cpu:.1f} s of processor time, {used['RSS']:.0f} MiB "
              f"(at most {used['HWM']:.0f})", flush=True)
        world.wait_ready(60)
        world.wait_answer(lambda r: r.status == 200, "the moving Service", 30, service="moving")
        cpu = world.agent.cpu_seconds()
        show("endpoint, event to first answer", edits(world, api, o.edits))
        spent = (world.agent.cpu_seconds() - cpu) * 1000 / o.edits
        print(f"processor time of the agent for one change, with its polling client: {spent:.2f} ms")
    finally:
        api.stop()


def main():
    o = parse()
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
            run(world, fabric, o)
            failed = False
        finally:
            world.close(failed)
    finally:
        fabric.close()


if __name__ == "__main__":
    main()
