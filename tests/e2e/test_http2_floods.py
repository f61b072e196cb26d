# SPDX-License-Identifier: Apache-2.0
"""Clients of HTTP/2 that mean harm: each meets its limit and GOAWAY, is counted, costs no memory, and others get their answers
meanwhile. And none that mean well notice that agents change."""
import re
import select
import subprocess

import h2.errors
import pytest

from harness import h2client as c, manifests as m
from harness.agent import memory_budget
from harness.wait import scaled, wait_for

CODES = h2.errors.ErrorCodes


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.82", "fd00:96::82"))
    w.route("web", [m.rule(m.path("/two"), "two"), m.rule(backends="a")])
    w.start("--limit", "buffered-bytes=100663296")
    return w


def ids():
    return range(1, 1 << 30, 2)


def headers(id, block=c.GET, flags=5):
    return c.frame(c.HEADERS, flags, id, block)


def rapid_reset():
    for id in ids():
        yield headers(id) + c.frame(c.RST_STREAM, 0, id, b"\0\0\0\x08")


def spoilt():
    """MadeYouReset: the agent is brought to reset what it began."""
    for id in ids():
        yield headers(id, c.GET + b"\x0f\x0d\x010", 4) + c.frame(c.DATA, 0, id, b"x")


def settings():
    while True:
        yield c.frame(c.SETTINGS, 0, 0, b"\0\4\0\1\0\0")


def pings():
    while True:
        yield c.frame(c.PING, 0, 0, b"12345678")


def empty_data():
    yield headers(1, flags=4)
    while True:
        yield c.frame(c.DATA, 0, 1)


def window_updates():
    while True:
        yield c.frame(c.WINDOW_UPDATE, 0, 0, b"\0\0\0\1")


def priorities():
    for id in ids():
        yield c.frame(c.PRIORITY, 0, id, b"\0\0\0\0\7")


def unknown():
    while True:
        yield c.frame(0x77, 0, 0)


def continuations():
    yield headers(1, flags=0)
    while True:
        yield c.frame(c.CONTINUATION, 0, 1)


def header_bytes():
    """One field of 4 KiB, put into the table, then named by one byte again and again (HPACK bomb)."""
    field = b"\x40\1x\x7f\xa1\x1e" + b"y" * 4000
    yield headers(1, c.GET + field, 0)
    for _ in range(14):
        yield c.frame(c.CONTINUATION, 0, 1, b"\xbe" * 16000)
    yield c.frame(c.CONTINUATION, 4, 1, b"\xbe")
    while True:
        yield c.frame(c.PING, 0, 0, b"12345678")


FLOODS = [(rapid_reset, "h2-resets"), (spoilt, "h2-resets"), (settings, "h2-settings"), (pings, "h2-pings"),
          (empty_data, "h2-empty-frames"), (window_updates, "h2-window-updates"), (priorities, "h2-priorities"),
          (unknown, "h2-empty-frames"), (continuations, "h2-continuations"), (header_bytes, "header-bytes")]


def reached(mesh, limit):
    return mesh.metrics().sum("sluice_limit_reached_total", limit=limit)


def attack(addr, flood, times):
    """Frames until the agent says GOAWAY or ends the connection; returns the code of each GOAWAY."""
    codes = []
    for _ in range(times):
        with c.connect(addr) as sock:
            sock.sendall(c.MAGIC + c.frame(c.SETTINGS))
            frames, got, sent = flood(), b"", 0
            try:
                while sent < 16 << 20 and goaway(got) is None:
                    sent += sock.send(b"".join(next(frames) for _ in range(20)))
                    if select.select([sock], [], [], 0)[0]:
                        got += sock.recv(1 << 20)
            except OSError:
                pass
            codes.append(goaway(got))
    return codes


def goaway(data):
    """Code of the GOAWAY among frames."""
    at = 0
    while at + 9 <= len(data):
        if data[at + 3] == c.GOAWAY:
            return int.from_bytes(data[at + 13:at + 17], "big")
        at += 9 + int.from_bytes(data[at:at + 3], "big")
    return None


def rss(mesh):
    with open(f"/proc/{mesh.agent.pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) << 10


def cpu(mesh):
    with open(f"/proc/{mesh.agent.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("flood, limit", FLOODS, ids=[f.__name__ for f, _ in FLOODS])
def test_a_flood_ends_itself(mesh, flood, limit):
    before, memory, spent = reached(mesh, limit), rss(mesh), cpu(mesh)
    codes = mesh.client.call(attack, mesh.addr(), flood, 5, timeout=60)
    assert mesh.fetch("/two").status == 200
    assert codes == [CODES.ENHANCE_YOUR_CALM] * 5
    assert reached(mesh, limit) >= before + 5
    assert rss(mesh) - memory < memory_budget(16 << 20)
    assert cpu(mesh) - spent < scaled(2)


def hoard(task, addr, n_conns):
    """Answers begun and not taken: the window of each stream stays shut, those of the connections open."""
    conns = []
    for _ in range(n_conns):
        conn = c.Conn(addr, window=1)
        conn.h2.increment_flow_control_window(1 << 24)
        conns.append(conn)
        for _ in range(100):
            conn.open(target="/two?size=10000000")
    task.report()
    task.wait_stop(60)
    for conn in conns:
        conn.sock.close()


def test_answers_that_nobody_takes(mesh):
    """What queues hold is bounded, and who holds it pays, not those who come later."""
    memory = rss(mesh)
    task = mesh.spawn(mesh.client, hoard, mesh.addr(), 16)
    task.next_report(60)
    statuses = mesh.client.call(asks, mesh.addr(), timeout=60)
    task.stop()
    assert statuses == [200] * 100
    assert reached(mesh, "buffered-bytes") > 0
    assert rss(mesh) - memory < memory_budget(160 << 20)


def asks(addr):
    statuses = []
    for _ in range(100):
        with c.Conn(addr) as conn:
            statuses.append(conn.request(target="/two").status)
    return statuses


# ---- another agent takes over ----

def leaving(task, addr):
    """What a client hears while agents change, by frames: the last streams that GOAWAYs named, the number of its last
    request (it sends none behind the first of them), which were answered, and which reset, why. It has some under way at
    a time: those above the limit that the agent's SETTINGS say would rightly be refused."""
    named, answered, reset, last, data = [], set(), {}, -1, b""
    with c.connect(addr) as sock:
        sock.sendall(c.MAGIC + c.frame(c.SETTINGS) + c.frame(c.WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))
        task.report()
        while True:
            if not named and (last + 1) // 2 - len(answered) - len(reset) < 20:
                last += 2
                sock.sendall(headers(last, c.GET[:1] + b"\x44\4/two" + c.GET[2:]))
            if select.select([sock], [], [], 0.02 if not named else 20)[0]:
                part = sock.recv(65536)
                if not part:
                    return named, last, answered, reset
                data += part
            while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
                kind, flags, id, payload = data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]
                data = data[end:]
                if kind == c.GOAWAY:
                    named.append(int.from_bytes(payload[:4], "big"))
                elif kind == c.PING and not flags:
                    sock.sendall(c.frame(c.PING, 1, 0, payload))
                elif kind in (c.DATA, c.HEADERS) and flags & 1:
                    answered.add(id)
                elif kind == c.RST_STREAM:
                    reset[id] = int.from_bytes(payload, "big")


def test_goaway_comes_in_two_steps(mesh):
    """RFC 9113 section 6.8: first with the highest number there is, then with the one that was served last."""
    task = mesh.spawn(mesh.client, leaving, mesh.addr())
    task.next_report()
    mesh.upgrade()
    named, last, answered, reset = task.result(30)
    assert named == [2 ** 31 - 1, last]
    assert not reset and answered == set(range(1, last + 1, 2))


def test_no_request_fails_while_agents_change(mesh):
    """h2load calls failed what it had queued, but not sent, when GOAWAY came in one read with an answer: what it sent counts."""
    load = mesh.client.popen(["h2load", "-D", "4", "-c", "4", "-m", "10", f"http://{mesh.addr()[0]}/two/load?size=100"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    mesh.upgrade()
    out, _ = load.communicate(timeout=scaled(60))
    print(out)
    succeeded = int(re.search(r"(\d+) succeeded", out).group(1))
    assert succeeded > 10

    def sent():
        return [r["status"] for r in mesh.access_records() if r.get("path", "").startswith("/two/load")]
    wait_for(lambda: len(sent()) >= succeeded, 10, what="the log")
    assert sent() == [200] * succeeded
