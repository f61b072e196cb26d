# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the end-to-end tests' fabric and world, with a recording backend and three proxies before it."""
import importlib.util
import os
import socket
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
E2E = os.path.join(os.path.dirname(HERE), "e2e")
sys.path[:0] = [HERE, E2E]

from harness import manifests as m, netns, rawhttp  # noqa: E402
from harness.wait import scaled, wait_for  # noqa: E402

import proxies  # noqa: E402
import request_quirks  # noqa: E402, F401
import response_quirks  # noqa: E402, F401
from lanes import Engine, Lane  # noqa: E402

_spec = importlib.util.spec_from_file_location("e2e_fixtures", os.path.join(E2E, "conftest.py"))
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)
fabric, pods, make_world = _e2e.fabric, _e2e.pods, _e2e.make_world
pytest_runtest_makereport = _e2e.pytest_runtest_makereport

LANES = 24
FIXED_SEED = "sluice"
WITHOUT_GIT = "no commit"
# Lane i of a proxy listens on its front port + i and asks the backend's port + i. undeclared: Sluice,
# where the Service does not say that its ports speak HTTP.
BACK = {"sluice": 20000, "haproxy": 21000, "nginx": 22000, "undeclared": 23000}
FRONT = {"sluice": 1000, "haproxy": 11000, "nginx": 12000, "undeclared": 2000}
VIPS = {"sluice": ("10.96.1.1", "fd00:96::101"), "undeclared": ("10.96.1.2", "fd00:96::102")}


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: also run with the thread sanitizer")


def pytest_addoption(parser):
    group = parser.getgroup("differential")
    group.addoption("--messages", type=int, default=2000, help="messages per run, half of them of the commit's seed")
    group.addoption("--seed", help="this seed instead of the fixed one and the commit's")
    group.addoption("--only", type=int, help="only the message of this index")
    group.addoption("--table", help="write the tables of disagreements to this file too")


def commit_seed():
    """Each commit tries other messages, and its run can be repeated."""
    r = subprocess.run(["git", "-c", "safe.directory=*", "-C", HERE, "rev-parse", "--short=8", "HEAD"],
                       capture_output=True, text=True)
    return r.stdout.strip() if r.returncode == 0 else WITHOUT_GIT


@pytest.fixture(scope="session")
def seeds(pytestconfig):
    seed = pytestconfig.getoption("--seed")
    return {"fixed": seed or FIXED_SEED, "commit": seed or commit_seed()}


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"differential tests: --seed {config.getoption('--seed') or commit_seed()}")


class Bench:
    """The proxies, each with its lanes to the backend."""

    def __init__(self, world):
        self.world = world
        self.backend = world.pod("recorder", written=False)
        self.house = world.pod("proxies", written=False)
        world.write("recorder.yaml", m.pod(self.backend))
        self._route("sluice", "http")
        self._route("undeclared", None)
        self.others = {name: make(self.house, world.folder, self.backend.v4, FRONT[name], BACK[name], LANES)
                       for name, make in proxies.OTHERS.items()}
        world.start()
        self.wait_routed()

    def _route(self, name, app_protocol):
        ports = [m.port(FRONT[name] + i, BACK[name] + i, f"p{i}", app_protocol) for i in range(LANES)]
        self.world.write(f"service-{name}.yaml", self.world.service_objects(name, [self.backend], ports, VIPS[name]))
        for i in range(LANES):
            port = FRONT[name] + i
            self.world.route(f"{name}-{i}", [m.rule(backends=m.backend(name, port))], [m.parent(name, port=port)])

    def wait_routed(self):
        def routed():
            # Nobody listens behind the rules yet, and the agent says so.
            return all(rawhttp.fetch((vip, FRONT[name] + LANES - 1), timeout=1).status == 503
                       for name, (vip, _) in VIPS.items())
        wait_for(lambda: self.world.client.call(routed), 20, what="the lanes to be routed")

    def address(self, name, i):
        return (VIPS[name][0] if name in VIPS else self.house.v4, FRONT[name] + i)

    def run(self, cases, question=False, names=("sluice", "haproxy", "nginx")):
        """name of proxy -> outcomes, in the order of the cases."""
        return self.world.client.call(self._run, cases, question, names, timeout=60 + len(cases) * 0.2)

    def _run(self, cases, question, names):
        engine = Engine(scaled(10), scaled(0.15), scaled(0.03), question)
        netns.setns(self.backend.netns)
        listeners = {(name, i): socket.create_server((self.backend.v4, BACK[name] + i))
                     for name in names for i in range(LANES)}
        netns.setns(self.world.client.netns)
        lanes = {name: [Lane(engine, self.address(name, i),
                             listeners[name, i]) for i in range(LANES)] for name in names}
        return engine.run(lanes, cases)

    def close(self):
        for p in self.others.values():
            p.stop()


@pytest.fixture(scope="module")
def bench(make_world):
    b = Bench(make_world().base())
    yield b
    b.close()
