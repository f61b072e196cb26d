# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the end-to-end tests' fabric and world, and the soak program between two of its pods."""
import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
E2E = os.path.join(os.path.dirname(HERE), "e2e")
sys.path[:0] = [E2E]

from harness import soak  # noqa: E402

_spec = importlib.util.spec_from_file_location("e2e_fixtures", os.path.join(E2E, "conftest.py"))
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)
fabric, pods, make_world, world = _e2e.fabric, _e2e.pods, _e2e.make_world, _e2e.world
pytest_runtest_makereport = _e2e.pytest_runtest_makereport


def pytest_addoption(parser):
    group = parser.getgroup("soak")
    group.addoption("--seconds", type=float, default=30, help="how long the random model runs (30)")
    group.addoption("--seed", help="instead of the commit's id")
    group.addoption("--clients", type=int, default=48, help="connections at a time (48)")
    group.addoption("--only", type=int, help="only the connection of this number")
    group.addoption("--soak-args", default="", help="further options of the soak program")


@pytest.fixture(scope="session")
def seed(pytestconfig):
    return pytestconfig.getoption("--seed") or soak.commit_seed()


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"soak: --seed {config.getoption('--seed') or soak.commit_seed()}")
