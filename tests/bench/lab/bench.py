# SPDX-License-Identifier: Apache-2.0
"""Two pods on a node: a client with all the proxies beside it, and a backend; helpers in C."""
import contextlib
import os
import random
import shutil
import signal
import subprocess

from harness import netns
from harness.cgroup import Cgroup
from harness.fabric import Fabric
from harness.rawhttp import Conn
from harness.wait import wait_for

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKEND_PORT = 8080
SPLICED_PORT = 8081  # servers whose sockets are seen by the path's own programs
C_FLAGS = ["-O2", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]


class Bench:
    def __init__(self, fabric, pin):
        self.fabric, self.folder = fabric, fabric.folder
        self.pin = pin
        self.n_cgroups = 0
        self.cgroups = []
        self.processes = []
        self.client, self.backend, self.neighbour = (fabric.pod(name) for name in ("client", "backend", "neighbour"))
        # Not under the agents' cgroups: nothing of Sluice is on the way of the other paths.
        self.plain = self.cgroup()
        self.client_entry = netns.Entry(self.client.netns, self.plain.path)
        for name in ("server", "relay", "client"):
            self.compile(name)
        self.serve(self.plain, BACKEND_PORT)

    def serve(self, group, port):
        """A backend in that cgroup."""
        self.popen(netns.Entry(self.backend.netns, group.path), [self.tool("server"), str(port)], role="load")
        wait_for(lambda: self.answers(self.client_entry, (self.backend.v4, port)), 10, what="the backend")

    def tool(self, name):
        return os.path.join(self.folder, name)

    def compile(self, name, output=None, flags=()):
        source = os.path.join(HERE, f"{name}.c")
        subprocess.run([os.environ.get("CC", "cc"), *C_FLAGS, "-o", self.tool(output or name), source, *flags],
                       check=True)

    def cgroup(self):
        """A cgroup of its own for an agent and those who use it."""
        self.n_cgroups += 1
        group = Cgroup(f"b{self.n_cgroups}", parent=self.fabric.cgroup)
        self.cgroups.append(group)
        return group

    def pinned(self, argv, role):
        """With --pin the proxy has the last core for itself."""
        if not self.pin:
            return argv
        last = (os.cpu_count() or 1) - 1
        return ["taskset", "-c", str(last) if role == "proxy" else f"0-{max(last - 1, 0)}", *argv]

    def popen(self, entry, argv, role="proxy", log="process.log", **kw):
        with open(os.path.join(self.folder, log), "a") as out:
            kw.setdefault("stdin", subprocess.DEVNULL)
            kw.setdefault("stdout", out)
            process = entry.popen(self.pinned(argv, role), stderr=out, **kw)
        self.processes.append(process)
        return process

    def run(self, entry, argv, timeout=300):
        return entry.run(self.pinned(argv, "load"), timeout=timeout).stdout

    def answers(self, entry, addr, target="/bench/1"):
        def ask():
            with Conn(addr, timeout=1) as c:
                return c.request(target=target).status == 200
        return entry.call(ask)

    def end(self, process):
        # A master that is killed leaves its workers behind, with the listening socket.
        for pid in tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        self.processes.remove(process)

    def close(self):
        for process in list(self.processes):
            self.end(process)
        for group in reversed(self.cgroups):
            group.remove()


@contextlib.contextmanager
def bench(pin=False):
    assert os.geteuid() == 0, "the benchmarks need root"
    # Mounts of our own, gone with us.
    netns.unshare(netns.CLONE_NEWNS)
    netns.mount(None, "/", None, netns.MS_REC | netns.MS_PRIVATE)
    fabric = Fabric()
    try:
        fabric.bpffs = os.path.join(fabric.folder, "bpf")
        os.mkdir(fabric.bpffs)
        netns.mount("bpf", fabric.bpffs, "bpf")
        lab = Bench(fabric, pin)
        try:
            yield lab
        finally:
            lab.close()
            shutil.rmtree(os.path.join(fabric.folder, "agents"), ignore_errors=True)
            netns.umount(fabric.bpffs)
    finally:
        fabric.close()


def shuffled(items):
    items = list(items)
    random.shuffle(items)
    return items


def tree(pid):
    """A process and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as f:
                parent = int(f.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))
    return total
