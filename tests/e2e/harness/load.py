# SPDX-License-Identifier: Apache-2.0
"""Closed-loop load from inside a pod: some threads, one request after the other, until told to stop."""
import collections
import resource
import threading
import time

from . import rawhttp


class Result:
    def __init__(self):
        self.statuses = collections.Counter()
        self.pods = collections.Counter()
        self.errors = []
        self.longest = 0.0
        self.n = 0

    def __repr__(self):
        return (f"<{self.n} requests, {dict(self.statuses)}, {dict(self.pods)}, {len(self.errors)} errors "
                f"{self.errors[:3]}, longest {self.longest:.3f} s>")

    def merge(self, other):
        self.statuses += other.statuses
        self.pods += other.pods
        self.errors += other.errors
        self.longest = max(self.longest, other.longest)
        self.n += other.n


def _loop(addr, keep_alive, target, stop, result, timeout):
    conn = None
    while not stop.is_set():
        begin = time.monotonic()
        try:
            if conn is None:
                conn = rawhttp.Conn(addr, timeout=timeout)
            r = conn.request(target=target)
            result.statuses[r.status] += 1
            result.pods[r.get("X-Pod")] += 1
            if not keep_alive or (r.get("Connection") or "").lower() == "close":
                conn.close()
                conn = None
        except (OSError, AssertionError) as e:
            result.errors.append((begin, f"{type(e).__name__}: {e}"))
            if conn:
                conn.close()
            conn = None
        result.n += 1
        result.longest = max(result.longest, time.monotonic() - begin)
    if conn:
        conn.close()


def run(task, addr, threads=4, keep_alive=False, target="/", timeout=10):
    """For Entry.spawn(): reports once it runs, ends when the test stops it, returns a Result."""
    stop = threading.Event()
    results = [Result() for _ in range(threads)]
    workers = [threading.Thread(target=_loop, args=(addr, keep_alive, target, stop, r, timeout)) for r in results]
    for w in workers:
        w.start()
    while not any(r.n for r in results) and not task.stopping():
        task.wait_stop(0.01)
    task.report()
    while not task.stopping():
        task.wait_stop(1)
    stop.set()
    total = Result()
    for w, r in zip(workers, results):
        w.join()
        total.merge(r)
    return total


def hold(task, addr, n):
    """For Entry.spawn(): n connections, each of which has had one request; reports, holds them until told to stop."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + 100, n + 100))
    conns = []
    for i in range(n):
        c = rawhttp.Conn(addr, timeout=30)
        c.request(target=f"/{i}")
        conns.append(c)
    task.report(n)
    task.wait_stop()
    for c in conns:
        c.close()
