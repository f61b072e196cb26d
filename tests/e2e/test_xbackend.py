# SPDX-License-Identifier: Apache-2.0
"""XBackend: hosts outside of the cluster, found by DNS, and Pods by their labels, as backends of routes."""
import contextlib
import json

import pytest

from harness import dns, h2client, manifests as m, rawhttp, tls
from harness.apps import Process
from harness.wait import wait_for
from test_tcp_kernel import KERNEL, by_kernel, told
from test_tcproute import greeted_by

HOST = "api.example.test"


def in_tls(**extra):
    return {"mode": "ServerOnly", "validation": {"hostname": tls.HOST, "caCertificateRefs": [
        {"group": "", "kind": "ConfigMap", "name": "ca"}]}, **extra}


@pytest.fixture(scope="module")
def names(fabric):
    server = dns.Server(fabric.node)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mesh(make_world, fabric, names):
    w = make_world().base()
    ca = tls.CA(fabric.folder, "xbackend-ca")
    cert = ca.issue(f"DNS:{tls.HOST}")
    names.set(HOST, w.a.v4)
    names.set("six.example.test", w.b.v6)
    names.set("both.example.test", w.b.v6, w.c.v4)
    names.set("fails.example.test", w.a.v4)
    names.set("long.example.test", w.b.v4, ttl=3600)
    names.set("side.example.test", w.c.v4)
    names.fail("slow.example.test", dns.SILENCE)
    with contextlib.ExitStack() as stack:
        stack.callback(tls.Server(w.a, 7201, cert).stop)
        stack.callback(tls.Server(w.a, 7202, cert, client_ca=ca.path).stop)
        crt, key = tls.split(cert)
        h2 = Process(w.a, ["nghttpd", "-a", w.a.v4, "--echo-upload", "7203", key, crt], w.a.v4, 7203, f"{w.folder}/nghttpd.log")
        stack.callback(h2.stop)
        objects = [tls.config_map("ca", ca.pem),
                   {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "me", "namespace": "shop"},
                    "stringData": dict(zip(("tls.crt", "tls.key"), tls.parts_of(ca.issue("DNS:x", subject="the-agent"))))}]
        services = []

        def front(name, **kw):
            services.append(f"front-{name}")
            w.add_service(f"front-{name}", [w.a], [m.port(80, 8080)])
            if kw:
                objects.append(m.xbackend(name, **kw))
                w.route(name, [m.rule(backends=m.xref(name))], [f"front-{name}"])

        front("moves", host=HOST, port=8080)
        front("six", host="six.example.test", port=8080)
        front("both", host="both.example.test", port=8080)
        front("fails", host="fails.example.test", port=8080)
        front("long", host="long.example.test", port=8080)
        front("slow", host="slow.example.test", port=8080)
        front("none", host="none.example.test", port=8080)
        front("h2c", host=HOST, port=9100, protocol="H2C")
        front("h1", host=HOST, port=8080, protocol="HTTP11")
        front("tls", host="tls.example.test", port=7201, tls=in_tls())
        front("mutual", host="tls.example.test", port=7202,
              tls=in_tls(mode="ClientAndServer", clientCertificateRef={"name": "me"}))
        front("h2", host="tls.example.test", port=7203, protocol="HTTP2", tls=in_tls())
        front("no-ca", host="tls.example.test", port=7201, tls={"mode": "ServerOnly", "validation": {
            "hostname": tls.HOST, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "missing"}]}})
        front("pods", labels={"app": "pay", "tier": "one"}, port=8080)
        names.set("tls.example.test", w.a.v4)
        objects.append(m.xbackend("side", host="side.example.test", port=8080))
        side = {"backendRef": m.xref("side")}
        for name, filter in (("mirrored", m.mirror("side", **side)), ("authorized", m.auth("side", **side))):
            front(name)
            w.route(name, [m.rule(None, [f"front-{name}"], filter)], [f"front-{name}"])
        objects.append(m.xbackend("banner", host="side.example.test", port=9001))
        w.write("objects.yaml", objects)
        for name, backend in (("kernel", "banner"), ("kernel-tls", "tls")):
            w.add_service(name, [w.b], [m.port(90, 9001, "raw")])
            w.l4_route("TCPRoute", name, [m.xref(backend)], [m.parent(name, port=90)], annotations=KERNEL)
        w.add_service("raw", [w.b], [m.port(90, 9001, "raw")])
        w.l4_route("TCPRoute", "raw", [m.xref("tls")], [m.parent("raw", port=90)])
        w.start(dns_servers=names.address)
        yield w


def ask(world, name, target="/"):
    def run():
        with rawhttp.Conn(world.addr(f"front-{name}")) as c:
            return c.request(target=target)
    return world.client.call(run)


def server(world, name):
    """Which pod answers."""
    answer = ask(world, name)
    return answer.seen.pod if answer.status == 200 else answer.status


def reaches(world, name, pod):
    wait_for(lambda: server(world, name) == pod.name, what=f"{pod.name} behind {name}")


def test_a_host_is_followed_to_where_it_moves(mesh, names):
    reaches(mesh, "moves", mesh.a)
    names.set(HOST, mesh.b.v4)
    reaches(mesh, "moves", mesh.b)
    names.set(HOST, mesh.a.v4)
    reaches(mesh, "moves", mesh.a)


def test_a_host_that_is_gone_has_no_endpoint_and_comes_back(mesh, names):
    assert ask(mesh, "none").status == 503
    names.set("none.example.test", mesh.c.v4)
    reaches(mesh, "none", mesh.c)
    names.fail("none.example.test", dns.NXDOMAIN)
    wait_for(lambda: server(mesh, "none") == 503, what="the name's end")


def test_people_are_shown_where_a_rule_leads(mesh):
    reaches(mesh, "long", mesh.b)
    route = next(r for r in mesh.ctl("routes")["routes"] if r["kind"] == "HTTPRoute" and r["name"] == "long")
    backend = route["rules"][0]["backends"][0]
    assert (backend["name"], backend["endpoints"], backend["ready"]) == ("shop/xbackend/long:8080", 1, 1)
    for words in (["explain", "--from", "shop", "http://front-long/"], ["endpoints"]):
        out = mesh.ctl_run(*words, output=None).stdout
        assert "shop/xbackend/long:8080" in out and mesh.b.v4 in out, out


def test_no_answer_leaves_the_last_one(mesh, names):
    reaches(mesh, "fails", mesh.a)
    names.fail("fails.example.test", dns.SERVFAIL)
    asked = names.n_asked("fails.example.test")
    wait_for(lambda: names.n_asked("fails.example.test") >= asked + 2, what="further questions")
    assert server(mesh, "fails") == mesh.a.name


def test_an_answer_is_kept_for_as_long_as_it_says(mesh, names):
    reaches(mesh, "long", mesh.b)
    asked = names.n_asked(HOST)
    wait_for(lambda: names.n_asked(HOST) > asked, what="a question about another host")
    assert names.n_asked("long.example.test") == 2  # A and AAAA


def test_dns_that_is_silent_holds_up_nobody(mesh):
    assert ask(mesh, "slow").status == 503
    assert server(mesh, "long") == mesh.b.name


def test_addresses_of_either_family(mesh):
    reaches(mesh, "six", mesh.b)
    # One of both is taken, and always the same.
    wait_for(lambda: server(mesh, "both") in (mesh.b.name, mesh.c.name), what="an answer")
    assert len({server(mesh, "both") for _ in range(4)}) == 1


@pytest.mark.parametrize("name, version", [("h2c", "HTTP/2"), ("h1", "HTTP/1.1")])
def test_the_protocol_is_the_backends(mesh, name, version):
    reaches(mesh, name, mesh.a)
    assert ask(mesh, name).seen.version == version
    answer = mesh.client.call(lambda: h2client.fetch(mesh.addr(f"front-{name}")))
    assert (answer.status, answer.seen.version) == (200, version)


@pytest.mark.parametrize("name, peer", [("tls", None), ("mutual", "the-agent")])
def test_tls_is_as_the_backend_says(mesh, name, peer):
    wait_for(lambda: ask(mesh, name).status == 200, what="an answer in TLS")
    got = json.loads(ask(mesh, name).body)
    assert (got["sni"], got["alpn"], got["client"]) == (tls.HOST, "http/1.1", peer)


def test_http2_in_tls(mesh):
    wait_for(lambda: ask(mesh, "h2", "/").status in (200, 404), what="an answer of nghttpd")


def test_what_cannot_be_verified_gets_nothing(mesh):
    answer = ask(mesh, "no-ca")
    assert answer.status == 503
    entry = next(r for r in mesh.ctl("routes")["routes"] if r["kind"] == "XBackend" and r["name"] == "no-ca")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in entry["parents"][0]["conditions"]}
    assert conditions == {"Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}


def sni_of(world, service):
    """Of the agent's connection to the TLS server, for a client's connection to the Service in plain text."""
    def run():
        with rawhttp.Conn(world.addr(service, 90)) as c:
            return c.request()
    return json.loads(world.client.call(run).body)["sni"]


def test_connections_of_a_tcproute(mesh):
    assert sni_of(mesh, "raw") == tls.HOST


def test_mirrors_go_to_a_host(mesh):
    # Until the name is known copies have nowhere to go.
    wait_for(lambda: ask(mesh, "mirrored", "/copy").status == 200 and "/copy" in [s["target"] for s in mesh.c.backend.seen()],
             what="a copy at the host")
    assert ask(mesh, "mirrored").seen.pod == mesh.a.name


def test_a_host_authorizes(mesh):
    wait_for(lambda: ask(mesh, "authorized", "/asked").status == 200, what="what the host allows")
    assert ask(mesh, "authorized", "/asked").seen.pod == mesh.a.name
    assert "/asked" in [s["target"] for s in mesh.c.backend.seen()]
    assert ask(mesh, "authorized", "/denied?status=401").status == 401
    assert "/denied?status=401" not in [s["target"] for s in mesh.a.backend.seen()]


def test_the_kernel_connects_to_a_host(mesh, names):
    wait_for(lambda: greeted_by(mesh, "kernel") == [mesh.c.name], what="the host's banner")
    before = by_kernel(mesh)
    assert greeted_by(mesh, "kernel") == [mesh.c.name] and by_kernel(mesh) == before + 1
    names.set("side.example.test", mesh.b.v4)
    wait_for(lambda: greeted_by(mesh, "kernel") == [mesh.b.name], what="where the host has moved to")
    names.set("side.example.test", mesh.c.v4)
    wait_for(lambda: greeted_by(mesh, "kernel") == [mesh.c.name], what="the host back again")


def test_what_only_the_agent_can_do_for_a_host_is_the_agents(mesh):
    """TLS, here: the kernel would send in plain text."""
    told(mesh, "kernel-tls", "False", "Enforced by the agent at port 90 (")
    before = by_kernel(mesh)
    assert sni_of(mesh, "kernel-tls") == tls.HOST
    assert by_kernel(mesh) == before


def test_pods_by_their_labels(mesh):
    assert ask(mesh, "pods").status == 503
    both = {"app": "pay", "tier": "one"}

    def labelled(pod, labels, **kw):
        p = m.pod(pod, labels, **kw)
        p["metadata"].update(name=f"pay-{pod.name}", uid=f"pay-{pod.uid}")
        return p
    mesh.write("labels.yaml", [labelled(mesh.a, {"app": "pay"}), labelled(mesh.b, both)])
    reaches(mesh, "pods", mesh.b)
    mesh.write("labels.yaml", [labelled(mesh.a, both), labelled(mesh.b, both, ready=False)])
    reaches(mesh, "pods", mesh.a)
    mesh.remove("labels.yaml")
    wait_for(lambda: server(mesh, "pods") == 503, what="no Pod any more")


def test_an_upgrade_has_the_hosts_from_the_first_request(mesh, names):
    reaches(mesh, "long", mesh.b)
    mesh.upgrade(dns_servers=names.address)
    assert server(mesh, "long") == mesh.b.name
