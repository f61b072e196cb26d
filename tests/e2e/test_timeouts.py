# SPDX-License-Identifier: Apache-2.0
"""timeouts.request and timeouts.backendRequest, and endpoints that do not answer at all."""
import time

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("timeouts", [
        m.rule(m.path("/request"), "a", timeouts={"request": "300ms"}),
        m.rule(m.path("/backend"), "a", timeouts={"backendRequest": "300ms"}),
        m.rule(m.path("/both"), "a", timeouts={"request": "5s", "backendRequest": "300ms"}),
        m.rule(m.path("/never"), "a", timeouts={"request": "0s"}),
        m.rule(m.path("/never-backend"), "a", timeouts={"backendRequest": "0s"}),
        m.rule(m.path("/"), "a"),
    ])
    w.start()
    return w


@pytest.mark.parametrize("path", ["/request", "/backend", "/both"])
def test_a_late_answer_is_504(mesh, path):
    before = time.monotonic()
    r = mesh.fetch(f"{path}?delay=4000")
    assert r.status == 504
    assert time.monotonic() - before < scaled(2)


@pytest.mark.parametrize("path", ["/request", "/backend", "/both", "/never", "/never-backend", "/other"])
def test_an_answer_in_time_is_not_touched(mesh, path):
    assert mesh.fetch(f"{path}?delay=20").status == 200


@pytest.mark.parametrize("path", ["/never", "/never-backend", "/other"])
def test_zero_disables_and_none_is_no_timeout(mesh, path):
    assert mesh.fetch(f"{path}?delay=1000").status == 200


@pytest.mark.parametrize("path", ["/request", "/backend"])
def test_a_body_that_does_not_end_in_time_is_cut(mesh, path):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send(rawhttp.build(target=f"{path}?size=100000&chunk=1000&pause=50"))
            head = c.read_head()
            with pytest.raises((rawhttp.Closed, ConnectionError)):
                c.read_exact(100000)
            return head.status
    assert mesh.client.call(run) == 200


def test_the_client_connection_lives_after_504(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            first = c.request(target="/request?delay=2000")
            if "close" in (first.get("Connection") or ""):
                return first.status, rawhttp.fetch(mesh.addr(), target="/other").status
            return first.status, c.request(target="/other").status
    assert mesh.client.call(run) == (504, 200)


def test_the_backend_connection_of_a_timed_out_request_is_not_used_again(mesh):
    assert mesh.fetch("/request?delay=1000").status == 504
    # The late answer must reach nobody: whoever asks next gets an answer of its own.
    targets = [f"/other?n={i}" for i in range(20)]

    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            return [c.request(target=t).seen["target"] for t in targets]
    assert mesh.client.call(run) == targets


def test_a_slow_upload_runs_into_the_request_timeout(mesh):
    def run():
        with rawhttp.Conn(mesh.addr()) as c:
            c.send("POST /request HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc")
            return c.read_response("POST").status
    assert mesh.client.call(run) in (408, 504)


def test_end_reasons_of_timeouts_are_logged(mesh):
    assert mesh.fetch("/request?delay=1000&mark=r").status == 504
    assert mesh.fetch("/backend?delay=1000&mark=b").status == 504

    def reasons():
        found = {r["path"].split("mark=")[1]: r["end_reason"] for r in mesh.access_records()
                 if "mark=" in r.get("path", "")}
        return found if {"r", "b"} <= found.keys() else None
    assert wait_for(reasons) == {"r": "request_timeout", "b": "upstream_timeout"}
