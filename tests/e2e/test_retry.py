# SPDX-License-Identifier: Apache-2.0
"""What is sent again when a rule's retry asks for it, and what is not: backends that count."""
import collections
import itertools
import json
import time

import pytest

from harness import h2client, manifests as m, rawhttp
from harness.wait import scaled, wait_for

ALL = [500, 502, 503, 504]
unique = itertools.count()


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    ports = {"one": m.port(80, 8080, app_protocol="http"), "two": m.port(80, 9100, app_protocol="kubernetes.io/h2c")}
    for i, (name, port) in enumerate(ports.items()):
        w.add_service(name, [w.a], [port], vip=(f"10.96.0.{91 + i}", f"fd00:96::{91 + i}"))
        w.add_service(f"{name}-pair", [w.b, w.c], [port], vip=(f"10.96.0.{93 + i}", f"fd00:96::{93 + i}"))
    # Pod b does not listen there.
    w.c.backend.listen("http", 8090)
    w.add_service("half", [w.b, w.c], [m.port(80, 8090, app_protocol="http")], vip=("10.96.0.95", "fd00:96::95"))
    rules = [m.rule(m.path("/half"), "half", retry={"attempts": 100})]
    for name in ports:
        def rule(path, retry, backend=name, **extra):
            return m.rule(m.path(f"/{name}/{path}"), backend, retry=retry, **extra)
        rules += [rule("three", {"codes": [500], "attempts": 3}), rule("two", {"codes": ALL, "attempts": 2}),
                  rule("never", {"codes": ALL, "attempts": 0}), rule("empty", {}),
                  rule("pair", {"codes": [503], "attempts": 1}, f"{name}-pair"),
                  rule("slow", {"codes": [504], "attempts": 2, "backoff": "0s"},
                       timeouts={"request": "10s", "backendRequest": "200ms"}),
                  rule("late", {"codes": [500], "attempts": 9},
                       timeouts={"request": "400ms", "backendRequest": "300ms"}),
                  rule("patient", {"codes": [503], "attempts": 2, "backoff": "60ms"})]
    w.route("web", rules[:16])
    w.route("rest", rules[16:] + [m.rule(m.path("/"), "a")])
    w.start()
    yield w
    w.c.backend.close_port(8090)


@pytest.fixture(autouse=True)
def fresh(mesh):
    for pod in (mesh.a, mesh.b, mesh.c):
        pod.backend.reset()


def ask_all(mesh, client, requests):
    """Answers to (method, target, body) on one connection, and how often backend a saw each."""
    marked = [(method, target + ("&" if "?" in target else "?") + f"id={next(unique)}", body)
              for method, target, body in requests]
    module = h2client if client == "2" else rawhttp
    addr = mesh.addr()

    def run():
        with module.Conn(addr) as c:
            return [c.request(method, target, headers=GRPC if "grpc" in target else [],
                              body=([body] if client == "2" else body) if body else None)
                    for method, target, body in marked]
    answers = mesh.client.call(run, timeout=60)
    seen = mesh.a.backend.seen()
    return [(r, [s for s in seen if s["target"] == target]) for r, (_, target, _) in zip(answers, marked)]


def ask(mesh, client, target, method="GET", body=None):
    return ask_all(mesh, client, [(method, target, body)])[0]


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
CLIENTS = pytest.mark.parametrize("client", ["1.1", "2"])
SERVERS = pytest.mark.parametrize("server", ["one", "two"])


CASES = [
    ("three?status.each=500,500,200", 200, 3),
    ("three?status=500", 500, 4),
    ("three?status=503", 503, 1),
    ("two?status.each=500,502,200", 200, 3),
    ("two?status.each=503,504,200", 200, 3),
    ("two?status=504", 504, 3),
    ("two?status=501", 501, 1),
    ("never?status=500", 500, 1),
    ("empty?status=503", 503, 1),
]


@CLIENTS
@SERVERS
def test_codes_and_attempts(mesh, client, server):
    answers = ask_all(mesh, client, [("GET", f"/{server}/{target}", None) for target, _, _ in CASES])
    assert [(c[0], r.status, len(seen)) for c, (r, seen) in zip(CASES, answers)] == CASES


@CLIENTS
@SERVERS
def test_bodies_are_sent_again_if_they_are_short(mesh, client, server):
    body = bytes(range(256)) * 250  # 64,000 bytes
    target = f"/{server}/three?status.each=500,500,200"
    for r, seen in ask_all(mesh, client, [(method, target, body) for method in ("POST", "PUT", "PATCH")]):
        assert (r.status, [s["body_len"] for s in seen]) == (200, [len(body)] * 3)
        assert len({s["body_sha256"] for s in seen}) == 1
    r, seen = ask(mesh, client, f"/{server}/three?status=500", "POST", b"x" * 70000)
    assert (r.status, [s["body_len"] for s in seen]) == (500, [70000])


@CLIENTS
@SERVERS
def test_what_got_no_answer_is_not_sent_again(mesh, client, server):
    for how in ("reset=before", "cut=before"):
        for method in ("GET", "POST"):
            r, seen = ask(mesh, client, f"/{server}/two?{how}", method)
            assert r.status == 502
            # On a kept connection a GET may be: it had mostly closed before.
            assert len(seen) == 1 or (method == "GET" and len(seen) == 2)


@CLIENTS
@SERVERS
def test_an_answer_that_has_begun_is_not_asked_for_again(mesh, client, server):
    target = f"/{server}/two?size=1000&reset=body"
    with pytest.raises((h2client.Reset, rawhttp.Closed, ConnectionError)):
        ask(mesh, client, target, "POST")
    assert mesh.a.backend.stats()["requests"] == 1
    r, seen = ask(mesh, client, f"/{server}/two?status=500&info=103", "POST")
    assert (r.status, len(seen)) == (500, 1), "the client has seen 103"


@CLIENTS
@SERVERS
def test_another_endpoint_each_time(mesh, client, server):
    answers = ask_all(mesh, client, [("GET", f"/{server}/pair?status=503", None)] * 6)
    assert {r.status for r, _ in answers} == {503}
    seen = collections.Counter((s["target"], s["pod"]) for p in (mesh.b, mesh.c) for s in p.backend.seen())
    assert len(seen) == 12 and set(seen.values()) == {1}, "each request went to both"


@CLIENTS
def test_connections_that_fail(mesh, client):
    answers = ask_all(mesh, client, [("POST", "/half", b"1")] * 10)
    assert {r.status for r, _ in answers} == {200}


def test_a_refused_stream_counts_as_a_try(mesh):
    mesh.a.backend.set(refuse=3)
    assert ask(mesh, "2", "/two/three", "POST")[0].status == 200
    mesh.a.backend.set(refuse=3)
    assert ask(mesh, "2", "/two/two", "POST")[0].status == 503
    mesh.a.backend.set(refuse=1)
    assert ask(mesh, "2", "/two/never")[0].status == 503


def test_a_call_of_grpc_is_made_again_when_unavailable(mesh):
    r, seen = ask(mesh, "2", "/two/two?trailersonly.each=14,14,0&chunked=1&grpc", "POST", b"12345")
    assert (dict(r.headers)["grpc-status"], len(seen)) == ("0", 3)
    r, seen = ask(mesh, "2", "/two/two?trailersonly=13&chunked=1&grpc", "POST", b"12345")
    assert (dict(r.headers)["grpc-status"], len(seen)) == ("13", 1)


# ---- timeouts ----

@CLIENTS
@SERVERS
def test_a_slow_try_is_made_again_where_504_is_named(mesh, client, server):
    r, seen = ask(mesh, client, f"/{server}/slow?delay.each=2000,2000,", "POST")
    assert (r.status, len(seen)) == (200, 3)
    before = time.monotonic()
    r, seen = ask(mesh, client, f"/{server}/slow?delay=2000", "POST")
    assert (r.status, len(seen)) == (504, 3)
    assert 0.6 <= time.monotonic() - before < scaled(2)


@CLIENTS
@SERVERS
def test_the_whole_is_bounded_by_the_request_timeout(mesh, client, server):
    r, seen = ask(mesh, client, f"/{server}/late?delay=150&status=500")
    assert r.status == 504 and 2 <= len(seen) <= 3
    r, seen = ask(mesh, client, f"/{server}/late?delay=2000")
    assert (r.status, len(seen)) == (504, 1)


@CLIENTS
@SERVERS
def test_backoff_is_kept(mesh, client, server):
    before = time.monotonic()
    r, seen = ask(mesh, client, f"/{server}/patient?status.each=503,503,200")
    assert (r.status, len(seen)) == (200, 3)
    assert time.monotonic() - before >= 0.12


# ---- what operators see ----

def test_tries_are_counted_and_logged(mesh):
    retries = lambda reason: mesh.metrics().sum("sluice_upstream_retries_total", reason=reason)  # noqa: E731
    code, timeout = retries("code"), retries("timeout")
    assert ask(mesh, "1.1", "/one/three?status.each=500,500,200&mark=logged")[0].status == 200
    assert ask(mesh, "2", "/two/slow?delay.each=2000,")[0].status == 200
    assert (retries("code") - code, retries("timeout") - timeout) == (2, 1)
    record = wait_for(lambda: next((r for r in mesh.access_records() if "mark=logged" in r["path"]), None))
    assert (record["attempts"], record["status"], record["end_reason"]) == (3, 200, "complete")


def test_explain_shows_it(mesh):
    answer = json.loads(mesh.ctl_run("explain", "GET", "http://web.shop/one/patient").stdout)
    assert answer["rule"]["retry"] == {"attempts": 2, "codes": [503], "backoff_ms": 60}
