# SPDX-License-Identifier: Apache-2.0
"""Where the lab's processes run: control groups and network namespaces of its own. Everything that it ever starts, pods
included, is in one cgroup of the v2 hierarchy, by which it all ends."""
import os
import signal
import subprocess

from harness import netns
from harness.wait import wait_for

CGROUPS = "/sys/fs/cgroup"
NETNS = "/run/netns"


def hierarchies():
    """Mount points of all cgroup hierarchies: one on machines of today, a dozen where v1 is mounted beside v2."""
    found = {}
    with open("/proc/mounts") as f:
        for line in f:
            _, path, kind, options = line.split()[:4]
            if kind in ("cgroup", "cgroup2") and path.startswith(CGROUPS):
                found[path] = kind
    assert "cgroup2" in found.values(), "no cgroup2 file system is mounted"
    return found


class Groups:
    """One control group, in every hierarchy."""

    def __init__(self, name):
        self.name = name
        self.kinds = hierarchies()
        self.paths = [os.path.join(mount, name) for mount in self.kinds]
        self.unified = next(os.path.join(m, name) for m, kind in self.kinds.items() if kind == "cgroup2")

    def create(self):
        if len(self.kinds) == 1:
            self._hand_down()
        for path in self.paths:
            os.makedirs(path, exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1 has them empty, and then nobody may enter
                file = os.path.join(path, name)
                if os.path.exists(file) and path != self.unified:
                    with open(os.path.join(os.path.dirname(path), name)) as f, open(file, "w") as g:
                        g.write(f.read())
        return self

    def _hand_down(self):
        """Where v2 is all there is, a group has the controllers that each group above it hands down."""
        path = next(iter(self.kinds))
        for part in self.name.split("/"):
            os.makedirs(path, exist_ok=True)
            with open(os.path.join(path, "cgroup.controllers")) as f:
                controllers = f.read().split()
            with open(os.path.join(path, "cgroup.subtree_control"), "w") as f:
                f.write(" ".join("+" + name for name in controllers))
            path = os.path.join(path, part)

    def make_room(self):
        """There, a group that hands controllers down has no processes of its own: ours go into one below."""
        if len(self.kinds) == 1:
            leaf = os.path.join(self.unified, "init")
            os.makedirs(leaf, exist_ok=True)
            wait_for(lambda: self._moved(leaf), what=f"{self.unified} to have no processes of its own")

    def _moved(self, leaf):
        with open(os.path.join(self.unified, "cgroup.procs")) as f:
            pids = f.read().split()
        for pid in pids:
            with open(os.path.join(leaf, "cgroup.procs"), "w") as f:
                f.write(pid)
        return not pids

    def enter(self):
        """The process that calls: for the time between fork and exec."""
        for path in self.paths:
            with open(os.path.join(path, "cgroup.procs"), "w") as f:
                f.write("0")

    def _empty(self):
        with open(os.path.join(self.unified, "cgroup.events")) as f:
            return "populated 0" in f.read()

    def remove(self):
        """Ends all processes inside and below."""
        if os.path.isdir(self.unified):
            with open(os.path.join(self.unified, "cgroup.kill"), "w") as f:
                f.write("1")
            wait_for(self._empty, 20, what=f"the processes in {self.unified} to end")
        for path in self.paths:
            wait_for(lambda path=path: self._removed(path), 10, what=f"{path} to be removed")

    @staticmethod
    def _removed(top):
        for path, _, _ in os.walk(top, topdown=False):
            os.rmdir(path)
        return not os.path.isdir(top)


class Namespace:
    """A named network namespace, as ip-netns(8) has them."""

    def __init__(self, name):
        self.name, self.path = name, os.path.join(NETNS, name)

    def create(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link set lo up")
        return self

    def ip(self, *lines):
        netns.Entry(self.path).ip(*lines)

    def remove(self):
        if os.path.exists(self.path):
            subprocess.run(["ip", "netns", "del", self.name], check=True)


def start(argv, log, groups=None, namespace=None, env=None):
    """A daemon: it outlives us. Popen."""
    entry = netns.Entry(namespace)

    def prepare():
        entry()
        if groups:
            groups.enter()
        os.setsid()

    with open(log, "ab") as f:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f, preexec_fn=prepare,
                                env={**os.environ, **(env or {})})


def stop(process, how=signal.SIGTERM, timeout=20):
    """One that start() gave in this process."""
    if process and process.poll() is None:
        process.send_signal(how)
        process.wait(timeout)
