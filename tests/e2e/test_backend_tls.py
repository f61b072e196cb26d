# SPDX-License-Identifier: Apache-2.0
"""BackendTLSPolicy: what rules send to a backend goes in TLS, to a server that is who it should be."""
import contextlib
import json
import os
import ssl

import pytest

from harness import manifests as m, rawhttp, tls
from harness.apps import Process, nginx
from harness.tls import config_map, policy
from harness.wait import wait_for

HOST = tls.HOST
PYTHON = "/usr/bin/python3"
CLIENTS = os.path.join(os.path.dirname(__file__), "clients")


@pytest.fixture(scope="module")
def ca(fabric):
    return tls.CA(fabric.folder, "backend-ca")


@pytest.fixture(scope="module")
def mesh(make_world, fabric, ca):
    w = make_world().base()
    other = tls.CA(fabric.folder, "other-ca")
    good = ca.issue(f"DNS:{HOST}")
    with contextlib.ExitStack() as stack:
        def server(port, cert, **options):
            stack.callback(tls.Server(w.a, port, cert, **options).stop)
        server(7001, good)
        server(7002, good, version=ssl.TLSVersion.TLSv1_2)
        server(7003, good, alpn=())
        server(7004, ca.issue("DNS:else.example"))
        server(7005, ca.issue(f"DNS:{HOST}", days="-1"))
        server(7006, other.issue(f"DNS:{HOST}"))
        server(7007, ca.issue("DNS:*.wild.example", "URI:spiffe://cluster/ns/shop/sa/cart", "DNS:else.example"))
        server(7008, ca.issue(subject=HOST))
        server(7009, good, client_ca=ca.path)
        crt, key = tls.split(good)
        h2 = Process(w.a, ["nghttpd", "-a", w.a.v4, "--echo-upload", "7010", key, crt], w.a.v4, 7010, f"{w.folder}/nghttpd.log")
        stack.callback(h2.stop)
        for port, http2 in ((7011, False), (7012, True)):
            argv = nginx(w.folder, f"{w.a.v4}:{port}", f"{w.a.v4}:8080", tls=(crt, key), http2=http2)
            stack.callback(Process(w.a, argv, w.a.v4, port, f"{w.folder}/nginx-{port}.log").stop)
        argv = [PYTHON, os.path.join(CLIENTS, "grpc_server.py"), "7013", "a", crt, key]
        stack.callback(Process(w.a, argv, w.a.v4, 7013, f"{w.folder}/grpc.log").stop)
        objects = [config_map("ca", ca.pem), config_map("none", "nothing here"),
                   {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "me", "namespace": "shop"},
                    "stringData": dict(zip(("tls.crt", "tls.key"), tls.parts_of(ca.issue("DNS:client", subject="the-agent"))))}]

        def service(name, port, protocol=None, **kw):
            w.add_service(name, [w.a], [m.port(443, port, "tls", protocol)])
            w.add_service(f"front-{name}", [w.a], [m.port(80, 8080)])
            w.route(name, [m.rule(backends=m.backend(name, 443))], [f"front-{name}"])
            if kw.pop("policy", True):
                objects.append(policy(name, name, **kw))
        service("good", 7001)
        service("declared", 7001, "https")
        service("old", 7002)
        service("mute", 7003)
        service("name", 7004)
        service("expired", 7005)
        service("foreign", 7006)
        service("plain", 9001)
        service("nowhere", 7999)
        service("subject", 7008)
        service("wild", 7007, names=["*.wild.example"])
        service("uri", 7007, names=["other.example", "spiffe://cluster/ns/shop/sa/cart"])
        service("no-name", 7007, names=["shop.example", "spiffe://cluster/ns/shop/sa/other"])
        service("no-ca", 7001, ca="missing")
        service("bad-ca", 7001, ca="none")
        service("system", 7001, ca=None, wellKnownCACertificates="System")
        service("invalid", 7001, hostname="not a name")
        service("h2", 7010, "kubernetes.io/h2c")
        service("no-h2", 7003, "kubernetes.io/h2c")
        service("nginx", 7011)
        service("nginx-h2", 7012, "kubernetes.io/h2c")
        service("grpc", 7013, "kubernetes.io/h2c")
        service("shown", 7009, options={"sluice.dev/client-certificate": "me"})
        service("not-shown", 7009)
        service("unspoken", 7001, "https", policy=False)
        w.add_service("raw", [w.b], [m.port(90, 9001, "raw")])
        w.l4_route("TCPRoute", "raw", [m.backend("good", 443)], [m.parent("raw", port=90)])
        w.write("policies.yaml", objects)
        w.start()
        yield w


def ask(world, name, *requests, pod=None, connections=1):
    """Answers to requests, each (target, headers, body); the last one of each connection."""
    def run():
        answers = []
        for _ in range(connections):
            with rawhttp.Conn(world.addr(f"front-{name}")) as c:
                for target in requests or ("/",):
                    answers.append(c.request(target=target))
        return answers
    return (pod or world.client).call(run, timeout=60)


def seen(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def last_record(world, service):
    return wait_for(lambda: next((r for r in reversed(world.access_records()) if r.get("backend") == f"shop/{service}:443"), None))


@pytest.mark.parametrize("name, version, alpn", [("good", "TLSv1.3", "http/1.1"), ("declared", "TLSv1.3", "http/1.1"),
                                                 ("old", "TLSv1.2", "http/1.1"), ("mute", "TLSv1.3", None)])
def test_the_backend_is_spoken_to_in_tls(mesh, name, version, alpn):
    got = seen(ask(mesh, name)[0])
    assert (got["version"], got["alpn"], got["sni"]) == (version, alpn, HOST)
    assert got["peer"] == mesh.client.v4
    assert last_record(mesh, name)["end_reason"] == "complete"


@pytest.mark.parametrize("name, why", [
    ("name", "hostname mismatch"), ("expired", "certificate has expired"), ("foreign", "certificate"), ("plain", "wrong version number"),
    ("subject", "hostname mismatch"), ("no-name", "hostname mismatch"), ("system", "certificate"),
    ("no-ca", "BackendTLSPolicy"), ("bad-ca", "BackendTLSPolicy"), ("invalid", "BackendTLSPolicy")])
def test_nothing_is_sent_to_a_server_that_is_not_believed(mesh, name, why):
    answer = ask(mesh, name)[0]
    assert answer.status == 503 and why in answer.body.decode(), answer
    assert last_record(mesh, name)["end_reason"] == "upstream_tls"


def test_a_dead_endpoint_is_no_failure_of_tls(mesh):
    assert ask(mesh, "nowhere")[0].status == 503
    assert last_record(mesh, "nowhere")["end_reason"] == "connect_failed"


@pytest.mark.parametrize("name", ["wild", "uri"])
def test_one_of_the_names_suffices(mesh, name):
    assert seen(ask(mesh, name)[0])["sni"] == HOST


def test_the_agent_shows_its_certificate(mesh):
    assert seen(ask(mesh, "shown")[0])["client"] == "the-agent"
    assert ask(mesh, "not-shown")[0].status in (502, 503)


def test_http2(mesh):
    """Where the port says so; what the server says in ALPN has to agree (RFC 9113 section 3.2)."""
    def run():
        with rawhttp.Conn(mesh.addr("front-h2")) as c:
            body = bytes(range(251)) * 2000
            return [c.request("POST", "/", body=body).body == body for _ in range(3)]
    assert mesh.client.call(run) == [True] * 3
    answer = ask(mesh, "no-h2")[0]
    assert answer.status == 503 and "does not speak HTTP/2" in answer.body.decode()


@pytest.mark.parametrize("name", ["nginx", "nginx-h2"])
def test_nginx(mesh, name):
    """With whatever its OpenSSL, and its HTTP/2, make of us; behind it is the echo server of every pod."""
    def run():
        with rawhttp.Conn(mesh.addr(f"front-{name}")) as c:
            body = bytes(range(251)) * 2000
            return [c.request("POST", "/", body=body) for _ in range(3)]
    answers = mesh.client.call(run, timeout=60)
    assert [(r.status, r.seen["pod"], r.seen["body_len"]) for r in answers] == [(200, "a", 502000)] * 3


def test_grpc(mesh):
    """grpcio in TLS; the client speaks without, as its front does."""
    p = mesh.client.run([PYTHON, os.path.join(CLIENTS, "grpc_client.py"), "%s:80" % mesh.vips["front-grpc"][0], "unary", "both",
                         "scatter", "big"], timeout=90, check=False)
    got = dict(map(json.loads, p.stdout.splitlines()))
    assert got == {"unary": ["hello", "first", "0001ff", "plain", "00fe", "OK"], "both": 50, "scatter": 1000000, "big": True}, p.stderr


def test_a_declared_backend_without_a_policy_is_not_spoken_to(mesh):
    assert ask(mesh, "unspoken")[0].status == 500


def test_connections_are_used_again_and_sessions_too(mesh):
    assert len({seen(a)["client_port"] for a in ask(mesh, "old", "/", "/", "/")}) == 1

    def resumed():
        return seen(ask(mesh, "good", "/end", "/")[-1])["resumed"]
    wait_for(resumed, what="a resumed session")  # each worker has its own
    assert mesh.metrics().sum("sluice_upstream_tls_handshakes_total", kind="resumed") > 0
    assert mesh.metrics().sum("sluice_upstream_tls_handshakes_total", kind="full") > 0


@pytest.mark.parametrize("name", ["good", "old"])
def test_large_bodies_both_ways(mesh, name):
    def run():
        body = bytes(range(251)) * 20000
        with rawhttp.Conn(mesh.addr(f"front-{name}"), timeout=30) as c:
            echo = c.request("POST", "/echo", body=body)
            down = c.request(target="/bytes/5120000")
        return echo.body == body, down.body == bytes(range(256)) * 20000
    assert mesh.client.call(run, timeout=60) == (True, True)


@pytest.mark.parametrize("name", ["good", "old"])
def test_an_answer_that_was_cut_is_not_whole(mesh, name):
    """RFC 8446 section 6.1: without close_notify nobody knows whether it was all."""
    def run(target):
        with rawhttp.Conn(mesh.addr(f"front-{name}")) as c:
            c.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                return c.read_response().body
            except (ConnectionError, rawhttp.Closed) as e:
                return type(e).__name__
    assert mesh.client.call(run, "/end") == b"x" * 1000
    assert mesh.client.call(run, "/cut") in ("ConnectionResetError", "Closed")


def test_a_tcproute_speaks_tls_to_its_backend(mesh):
    def run():
        with rawhttp.Conn(mesh.addr("raw", 90)) as c:
            c.send("GET /end HTTP/1.1\r\nHost: x\r\n\r\n")
            return c.read_to_eof()
    assert mesh.client.call(run).endswith(b"x" * 1000)


def test_conditions(mesh):
    status = {p["name"]: p["parents"][0] for p in tls.policies(mesh.ctl("routes"))}
    assert status["good"]["parentRef"] == {"group": "", "kind": "Service", "namespace": "shop", "name": "good"}
    told = {n: {c["type"]: (c["status"], c["reason"]) for c in a["conditions"]} for n, a in status.items()}
    assert told["good"] == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    for name in ("no-ca", "bad-ca"):
        assert told[name] == {"Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}
    assert told["invalid"]["Accepted"] == ("False", "Invalid")
    with open(mesh.status_file) as f:
        assert {p["name"] for p in tls.policies(json.load(f))} == set(told)


def test_explain(mesh):
    x = json.loads(mesh.ctl_run("explain", "--from", "shop", "http://front-good/").stdout)
    assert x["backends"][0]["tls"] == {"policy": "shop/good", "hostname": HOST}
    x = json.loads(mesh.ctl_run("explain", "--from", "shop", "http://front-no-ca/").stdout)
    assert x["backends"][0]["tls"]["refused"] is True and x["backends"][0]["status"] == 503
