# SPDX-License-Identifier: Apache-2.0
"""A cgroup of our own, in which the agent and all of its clients run."""
import os
import signal

from .wait import wait_for


def mount_point():
    with open("/proc/mounts") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise RuntimeError("no cgroup2 file system is mounted")


class Cgroup:
    def __init__(self, name, parent=None):
        self.path = os.path.join(parent.path if parent else mount_point(), name)
        os.makedirs(self.path)

    def pids(self):
        try:
            with open(os.path.join(self.path, "cgroup.procs")) as f:
                return [int(line) for line in f]
        except FileNotFoundError:
            return []

    def _emptied(self):
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        return not os.path.exists(self.path)

    def remove(self):
        """Ends what still runs inside: all of it was started by the tests."""
        wait_for(self._emptied, 10, what=f"{self.path} to be removed")
