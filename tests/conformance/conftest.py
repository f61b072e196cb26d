# SPDX-License-Identifier: Apache-2.0
"""Tests against real Kubernetes programs. test_api.py has pods and an agent as tests/e2e has them, so its fixtures are
theirs; test_cluster.py starts a cluster."""
import importlib.util
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sluice  # noqa: E402  (says where the lab is)
import sluice_lab  # noqa: E402,F401  (says where the harness is)

_spec = importlib.util.spec_from_file_location(
    "e2e_fixtures", os.path.join(sluice.ROOT, "tests", "e2e", "conftest.py"))
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)
fabric, pods, world = _e2e.fabric, _e2e.pods, _e2e.world
pytest_runtest_makereport = _e2e.pytest_runtest_makereport
