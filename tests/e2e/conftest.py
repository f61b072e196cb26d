# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one fabric (node, pods, backends) for the run, one world (manifests, agent) per test."""
import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import netns  # noqa: E402
from harness.fabric import Fabric  # noqa: E402
from harness.world import World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "interop: with a client that is built for minutes; SLUICE_INTEROP=1 asks for it")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("SLUICE_INTEROP") == "1":
        return
    config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("interop")])
    items[:] = [i for i in items if not i.get_closest_marker("interop")]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture(scope="session")
def fabric():
    assert os.geteuid() == 0, "the end-to-end tests need root"
    # A mount namespace of our own: the mounts of namespaces and of the BPF file system go with us.
    netns.unshare(netns.CLONE_NEWNS)
    netns.mount(None, "/", None, netns.MS_REC | netns.MS_PRIVATE)
    fabric = Fabric()
    try:
        fabric.bpffs = os.path.join(fabric.folder, "bpf")
        os.mkdir(fabric.bpffs)
        netns.mount("bpf", fabric.bpffs, "bpf")
        yield fabric
        netns.umount(fabric.bpffs)
    finally:
        fabric.close()


@pytest.fixture(scope="session")
def pods(fabric):
    """client and alien (another namespace) call; a, b and c serve."""
    pods = {"client": fabric.pod("client"), "alien": fabric.pod("alien", "other")}
    for name in "abc":
        pods[name] = fabric.pod(name, serve=True)
    for name in "abc":
        pods[name].backend.wait_ready()
    return pods


@pytest.fixture
def world(fabric, pods, request):
    world = World(fabric, pods)
    yield world
    world.close(getattr(request.node, "failed", True))


@pytest.fixture(scope="module")
def make_world(fabric, pods):
    """For modules all of whose tests only read: a world that they share."""
    with contextlib.ExitStack() as stack:
        def make():
            world = World(fabric, pods)
            stack.callback(world.close)
            return world
        yield make
