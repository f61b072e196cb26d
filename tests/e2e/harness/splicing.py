# SPDX-License-Identifier: Apache-2.0
"""What the tests of splicing share: an agent that splices, and connections that are spliced."""
import hashlib
import time

import pytest

from . import manifests as m, pattern, rawhttp
from .wait import scaled


def splicing(world):
    return world.ctl("status")["splice"]


def start(world, **options):
    """Service web has backend a."""
    world.base()
    world.route("r", [m.rule(m.path("/"), "a")])
    world.start(**{"splice": "on", **options})
    if splicing(world)["state"] != "on":
        pytest.skip("splicing is off here: " + splicing(world)["why"])
    return world


def state(world, c):
    """What the agent says of this connection; empty when it does not know it (yet)."""
    port = c.sock.getsockname()[1]
    return next((s for s in world.ctl("conns")["connections"] if s["client"].endswith(f":{port}")), {})


def body(r, size):
    assert r.status == 200, r
    assert len(r.body) == size and hashlib.sha256(r.body).hexdigest() == pattern.digest(size), "another body"


def ask(c, size=100, **kw):
    body(c.request(target=f"/?size={size}", **kw), size)


def until(world, c, wanted="spliced", timeout=15):
    """Exchanges until the connection's state is that."""
    end = time.monotonic() + scaled(timeout)
    while state(world, c).get("splice") != wanted:
        assert time.monotonic() < end, state(world, c)
        ask(c)
        time.sleep(0.005)
    return c


def spliced(world, service="web", **kw):
    return until(world, rawhttp.Conn(world.addr(service), **kw))
