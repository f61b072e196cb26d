# SPDX-License-Identifier: Apache-2.0
"""What is measured. Each function takes a path and gives numbers by name."""
import os
import random
import re
import subprocess
import time

from harness import manifests as m, netns
from harness.rawhttp import Conn
from harness.wait import wait_for

from .bench import cpu_seconds, rss_bytes

KB, MB = 1024, 1024 * 1024


class Failed(Exception):
    pass


def wrk(path, n_conns, seconds, size, n_threads=1):
    """Returns requests, seconds and the proxy's CPU seconds."""
    argv = ["wrk", f"-t{n_threads}", f"-c{n_conns}", f"-d{seconds}s", "--timeout", "30s", path.url(size)]
    before = cpu_seconds(path.pids())
    text = path.bench.run(path.entry, argv)
    cpu = cpu_seconds(path.pids()) - before
    done = re.search(r"(\d+) requests in ", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not done or not rate or "Non-2xx" in text or "Socket errors" in text:
        raise Failed(f"{path.name}: {text}")
    n = int(done.group(1))
    return n, n / float(rate.group(1)), cpu


def requests(path, opts):
    n, seconds, cpu = wrk(path, 64, opts.seconds, KB, getattr(path, "n_wrk_threads", 1))
    values = {"requests_per_s": n / seconds}
    if path.pids():
        values["cpu_s_per_100k"] = cpu * 100000 / n
    return values


def ping(path, opts, per_second=1000):
    n = per_second * opts.seconds
    text = path.bench.run(path.entry, [path.bench.tool("client"), "ping", path.addr[0], str(path.addr[1]),
                                       f"{path.prefix}/{KB}", str(n)])
    p50, p99 = (int(word) for word in text.split())
    return {"p50_us": p50 / 1000, "p99_us": p99 / 1000}


def established(pod):
    return pod.run(["ss", "-Htn", "state", "established"]).stdout.splitlines()


def neighbour(path, opts):
    """Latency beside another pod that takes long answers on few connections and on many."""
    values = {}
    for n_conns in (4, 64):
        bulk = path.bench.popen(netns.Entry(path.bench.neighbour.netns, path.agent.group.path),
                                ["wrk", "-t1", f"-c{n_conns}", "-d1h", path.url(10 * MB)], role="load")
        try:
            wait_for(lambda: len(established(path.bench.neighbour)) >= n_conns, 10, what="the bulk transfers")
            shown = ping(path, opts, 100)
        finally:
            path.bench.end(bulk)
        values.update({f"{name}_{n_conns}": v for name, v in shown.items()})
    return values


def connections(path, opts):
    before = cpu_seconds(path.pids())
    text = path.bench.run(path.entry, [path.bench.tool("client"), "connect", path.addr[0], str(path.addr[1]),
                                       f"{path.prefix}/{KB}", "32", str(500 * opts.seconds)])
    n, took_ns = (int(word) for word in text.split())
    if not n:
        raise Failed(f"{path.name}: no connection")
    values = {"connections_per_s": n * 1e9 / took_ns}
    if path.pids():
        values["cpu_s_per_100k"] = (cpu_seconds(path.pids()) - before) * 100000 / n
    return values


def body(path, opts):
    values = {}
    for name, size, n_conns in (("100k", 100 * KB, 16), ("10m", 10 * MB, 4)):
        n, seconds, cpu = wrk(path, n_conns, max(1, opts.seconds // 2), size)
        values[f"mb_per_s_{name}"] = n * size / seconds / MB
        if path.pids():
            values[f"cpu_s_per_gb_{name}"] = cpu * 1024 * MB / (n * size)
    return values


class Held:
    """Idle connections, each of which has made a request."""

    def __init__(self, path, n):
        argv = [path.bench.tool("client"), "hold", path.addr[0], str(path.addr[1]), f"{path.prefix}/{KB}", str(n)]
        self.bench = path.bench
        self.process = path.bench.popen(path.entry, argv, role="load", stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{path.name}: cannot hold {n} connections")
        self.n = int(line)

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.bench.processes.remove(self.process)


def memory(path, opts):
    """Resident memory of a proxy that was just started, then with idle connections."""
    values = {"rss_mb_idle": rss_bytes(path.pids()) / MB}
    held = []
    try:
        for n in (1000, 10000):
            held.append(Held(path, n - sum(h.n for h in held)))
            stand = sum(h.n for h in held)
            values[f"rss_mb_{n}"] = rss_bytes(path.pids()) / MB
            values[f"stand_{n}"] = stand
            if stand < n:
                break
    finally:
        for h in held:
            h.end()
    return values


def edit(path, n_edits):
    """Milliseconds from the rename of a changed manifest to the first answer that shows it."""
    agent, service, addr = path.agent, path.service, path.addr
    target = f"{path.prefix}/16"

    def write(value):
        shown = m.response_headers(set={"x-edit": value})
        agent.write("edit.yaml", [m.route(f"{service}-edit", [m.rule(m.exact(target), [service], shown)],
                                          [service])])

    def run():
        took = []
        with Conn(addr, timeout=30) as c:
            for i in range(n_edits + 1):
                # Not always at the same moment of the agent's own rhythm.
                for _ in range(random.randrange(200)):
                    c.request(target=target)
                value = f"{os.getpid()}-{i}"
                write(value)
                began = time.monotonic_ns()
                while c.request(target=target).get("x-edit") != value:
                    pass
                took.append((time.monotonic_ns() - began) / 1e6)
        return took[1:]  # the first adds the route

    return path.entry.call(run, timeout=120)
