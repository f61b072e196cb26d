# SPDX-License-Identifier: Apache-2.0
"""What the kernel holds for TCP sockets: of a network namespace by socket diagnostics, of the machine by /proc."""
import re

_SKMEM = re.compile(r"skmem:\(([^)]*)\)")
_FIELD = re.compile(r"([a-z]+)(\d+)")


def of_netns(entry, which=""):
    """Bytes of all TCP sockets in the namespace, or those that an expression of ss(8) names: received, sent but not
    taken, set aside."""
    total = 0
    for fields in _SKMEM.findall(entry.run(["ss", "-tmanH", *which.split()]).stdout):
        f = {k: int(v) for k, v in _FIELD.findall(fields)}
        total += f["r"] + max(f["t"], f["w"]) + f["f"] + f["bl"]
    return total


def of_machine():
    """Bytes of all TCP memory, also of those that do not belong to the test; what a sockmap queues counts here."""
    with open("/proc/net/protocols") as f:
        for line in f:
            fields = line.split()
            if fields[0] == "TCP":
                return int(fields[3]) * 4096
    raise RuntimeError("no TCP in /proc/net/protocols")
