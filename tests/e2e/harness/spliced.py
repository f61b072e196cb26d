# SPDX-License-Identifier: Apache-2.0
"""What the agent counts about connections that the kernel splices, as differences over a block of code."""
import contextlib


def counts(world):
    return {(n, *sorted(labels.items())): v for n, labels, v in world.metrics()
            if n.startswith("sluice_splice") and n.endswith("_total")}


@contextlib.contextmanager
def shown(world, name):
    """Prints what became of the connections that the block made."""
    before = counts(world)
    yield
    after = counts(world)
    grown = {key: v - before.get(key, 0) for key, v in after.items() if v > before.get(key, 0)}
    words = [" ".join([key[0], *(value for _, value in key[1:])]) + f" {v:.0f}" for key, v in sorted(grown.items())]
    print(f"{name}: {', '.join(words) or 'plain TCP'}")
