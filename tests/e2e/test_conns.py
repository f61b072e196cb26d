# SPDX-License-Identifier: Apache-2.0
"""The list of connections, asked of an agent that ends."""
import contextlib
import socket

from harness import load, manifests as m


def test_conns_while_the_agent_stops(world):
    world.base()
    world.route("r", [m.rule(backends="web")])
    world.start(drain_timeout=0)
    task = world.spawn(world.client, load.hold, world.addr(), 1000)
    task.next_report(timeout=60)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.connect(world.socket)
            s.sendall(b'{"command":"conns","limit":0}\n')
        world.agent.stop()
