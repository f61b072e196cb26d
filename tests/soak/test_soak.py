# SPDX-License-Identifier: Apache-2.0
"""A random model of clients and servers, through the mesh, for as long as one likes. soak.h says how it works."""
import shlex

import pytest

from harness import soak, spliced
from harness.wait import scaled, wait_for


# What docs/limits.md says of spliced sockets; and a program that reads by splice(2) is never spliced.
TAME = ["--tame", "--urgent", 0, "--without", "mmsg", "--without", "splice"]


@pytest.mark.parametrize("splice, ways", [("off", []), ("on", TAME)], ids=["tcp", "spliced"])
def test_random_clients_and_servers(world, pytestconfig, seed, splice, ways):
    """Every byte both ways, every status, end and error is what the model says."""
    world.base()
    s = soak.Soak(world)
    world.start(splice=splice)
    s.wait_routed()
    seconds = pytestconfig.getoption("--seconds") / 2
    options = ["--seed", seed, "--seconds", seconds, "--clients", pytestconfig.getoption("--clients")]
    if pytestconfig.getoption("--only") is not None:
        options += ["--only", pytestconfig.getoption("--only")]
    with spliced.shown(world, "the random model"):
        done = s.run(*options, *ways, *shlex.split(pytestconfig.getoption("--soak-args")), seconds=seconds)
    print(done)
    assert done["connections"] > 0
    wait_for(lambda: world.metrics().sum("sluice_connections_active") == 0, what="all connections to be closed")


@pytest.mark.parametrize("sabotage, found", [("byte", "Bad message"), ("stall", "timed out|hangs"), ("reset", "status 502")])
def test_the_model_finds_what_is_wrong(world, sabotage, found):
    """The backend does one thing that nobody planned: it is found, and named with its connection."""
    world.base()
    s = soak.Soak(world)
    world.start()
    s.wait_routed()
    with pytest.raises(AssertionError, match=found) as e:
        s.run("--seed", "sabotage", "--conns", 60, "--clients", 4, "--kind", 0, "--no-faults", "--no-changes",
              "--max-body", 5000, "--deadline", scaled(2), "--sabotage", sabotage, seconds=20)
    assert "exit 1" in str(e.value)
