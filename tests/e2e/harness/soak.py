# SPDX-License-Identifier: Apache-2.0
"""The soak program (tests/soak) between a client pod and a backend pod."""
import json
import os
import shutil
import subprocess

from . import manifests as m
from .agent import build_dir
from .wait import SCALE, wait_for

# HTTP; a port of unknown protocol; one whose server speaks first.
PORTS = [m.port(80, 8080, "http", "http"), m.port(81, 8081, "raw"), m.port(82, 8082, "first")]
WITHOUT_GIT = "no commit"


def commit_seed():
    """Each commit tries other things, and its run can be repeated."""
    here = os.path.dirname(os.path.abspath(__file__))
    r = subprocess.run(["git", "-c", "safe.directory=*", "-C", here, "rev-parse", "--short=8", "HEAD"],
                       capture_output=True, text=True)
    return r.stdout.strip() if r.returncode == 0 else WITHOUT_GIT


def program():
    return os.path.join(build_dir(), "tests", "soak", "soak")


class Soak:
    """A Service whose backend is the program itself."""

    def __init__(self, world, name="soak", annotations=None):
        self.world = world
        self.backend = world.pod(name)
        self.vips = world.add_service(name, [self.backend], PORTS, annotations=annotations)
        world.route(name, [m.rule(backends=m.backend(name, 80))], [m.parent(name, port=80)])
        for port in (81, 82):
            world.route(f"{name}-{port}", [m.rule(backends=m.backend(name, port))], [m.parent(name, port=port)])
        self.name = name

    def wait_routed(self):
        wait_for(lambda: all(self.world.fetch(service=self.name, family=f, timeout=1).status == 503 for f in (4, 6)),
                 20, what="the soak program's Service to be routed")

    def argv(self, *options, copy=None):
        """copy: run a copy of the program under this name, which the kernel has seen do nothing yet."""
        path = program()
        if copy:
            path = os.path.join(self.world.folder, copy)
            shutil.copy(program(), path)
        return [path, "--server-netns", self.backend.netns, "--backends", f"{self.backend.v4},{self.backend.v6}",
                "--vips", ",".join(self.vips), "--ports", "80,81,82", "--backend-ports", "8080,8081,8082",
                "--deadline", str(20 * SCALE), *map(str, options)]

    def run(self, *options, seconds, copy=None):
        """Its summary. Fails with what the program says, and how to repeat it."""
        r = self.world.client.run(self.argv(*options, copy=copy), check=False, timeout=seconds + 90)
        assert r.returncode == 0, f"exit {r.returncode}: {' '.join(map(str, options))}\n{r.stdout}{r.stderr[-12000:]}"
        return json.loads(r.stdout)
