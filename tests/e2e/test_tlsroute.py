# SPDX-License-Identifier: Apache-2.0
"""TLSRoute: the name that a TLS client asks for says where its connection goes; TLS ends at the backend."""
import json
import socket
import ssl

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for

UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
DECODE_ERROR = b"\x15\x03\x03\x00\x02\x02\x32"


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for pod in "abc":
        w.add_service(f"tls-{pod}", [w.pods[pod]], [m.port(443, 8443, "tls")])
    w.add_service("banner", [w.c], [m.port(443, 9001, "raw")])
    w.add_service("edge", [w.c], [m.port(443, 8443, "tls", "https"), m.port(80, 9001, "any"), m.port(81, 9000, "more")])
    backend = lambda name: m.backend(f"tls-{name}", 443)
    w.l4_route("TLSRoute", "exact", [backend("a")], ["edge"], hostnames=["a.example.com", "web"])
    w.l4_route("TLSRoute", "wild", [backend("b")], ["edge"], hostnames=["*.example.com"])
    w.l4_route("TLSRoute", "long", [backend("c")], ["edge"], hostnames=["*.deep.example.com"])
    w.l4_route("TLSRoute", "split", [m.backend("tls-a", 443, 1), m.backend("tls-b", 443, 1)], ["edge"],
               hostnames=["split.test"])
    w.l4_route("TLSRoute", "lost", [m.backend("nowhere", 443)], ["edge"], hostnames=["lost.test"])
    w.start()
    return w


def served_by(world, name, n=1, port=443, pod=None, family=4):
    """The pods that end the TLS of n connections."""
    def run():
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        pods = []
        for _ in range(n):
            with socket.create_connection(world.addr("edge", port, family), timeout=scaled(10)) as raw:
                with context.wrap_socket(raw, server_hostname=name) as s:
                    pods.append(rawhttp.Conn(None, s).request().seen["pod"])
        return pods
    return (pod or world.client).call(run, timeout=60)


def client_hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    read, write = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(read, write, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return write.read()


def answer_to(world, pieces, port=443):
    """What comes back to these bytes, sent one piece after the other was taken."""
    def run():
        with rawhttp.Conn(world.addr("edge", port)) as c:
            c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                c.send(piece)
            return c.sock.recv(4096)
    return world.client.call(run)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name, pod", [
    ("a.example.com", "a"), ("A.Example.COM", "a"), ("web", "a"), ("b.example.com", "b"), ("x.y.example.com", "b"),
    ("deep.example.com", "b"), ("x.deep.example.com", "c"), ("x.y.deep.example.com", "c")])
def test_the_name_decides(mesh, name, pod, family):
    assert served_by(mesh, name, family=family) == [pod]


def test_the_certificate_is_the_backends(mesh):
    def run():
        context = ssl.create_default_context(cafile=mesh.fabric.cert)
        with socket.create_connection(mesh.addr("edge", 443), timeout=scaled(10)) as raw:
            with context.wrap_socket(raw, server_hostname="web") as s:
                return rawhttp.Conn(None, s).request(target="/secret").seen
    seen = mesh.client.call(run)
    assert (seen["pod"], seen["target"], seen["peer"][0]) == ("a", "/secret", mesh.client.v4)


@pytest.mark.parametrize("name", ["example.com", "example.org", "b.example.com.evil", None])
def test_without_a_route_the_client_is_told(mesh, name):
    assert answer_to(mesh, [client_hello(name)]) == UNRECOGNIZED_NAME
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.?name"):
        served_by(mesh, name)


def fragments(hello, size):
    """The same message in records of that many bytes."""
    body = hello[5:]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
                    for part in (body[i:i + size] for i in range(0, len(body), size)))


@pytest.mark.parametrize("size", [1, 40, 200])
def test_a_fragmented_hello_is_read(mesh, size):
    """The backend's OpenSSL decides what it makes of it; the name was read, as no alert of ours came."""
    assert answer_to(mesh, [fragments(client_hello("nobody.test"), size)]) == UNRECOGNIZED_NAME
    assert answer_to(mesh, [fragments(client_hello("a.example.com"), size)])[:1] == b"\x16"


def test_a_hello_may_come_byte_by_byte(mesh):
    hello = client_hello("a.example.com")
    assert answer_to(mesh, [hello[i:i + 1] for i in range(len(hello))])[:1] == b"\x16"


def test_a_malformed_hello_is_refused(mesh):
    hello = bytearray(client_hello("a.example.com"))
    hello[5] = 2
    assert answer_to(mesh, [bytes(hello)]) == DECODE_ERROR
    assert answer_to(mesh, [b"\x16\x03\x01\x40\x00\x01\x01\x00\x00"]) == DECODE_ERROR, "16 MiB announced"


def test_what_is_not_tls_goes_to_the_service_itself(mesh):
    def run():
        with rawhttp.Conn(mesh.addr("edge", 80), timeout=3) as c:
            greeting = c.read_line()
            c.send(b"HELO me\r\n")
            return greeting, c.read_line()
    assert mesh.client.call(run) == (f"220 c ready for {mesh.client.v4}".encode(), b"HELO me")
    assert answer_to(mesh, [b"GE", b"T / HTTP/1.1\r\n\r\n"], 81)[:2] == b"GE"
    assert served_by(mesh, "b.example.com", port=81) == ["b"], "TLS on the very same port"


def test_weights_and_refusal(mesh):
    pods = served_by(mesh, "split.test", 20)
    assert abs(pods.count("a") - pods.count("b")) <= 4, "each worker counts for itself"
    with pytest.raises(OSError):
        served_by(mesh, "lost.test")


def test_conditions_log_and_explain(mesh):
    routes = {r["name"]: r for r in mesh.ctl("routes")["routes"]}
    shown = {n: {c["type"]: c["reason"] for c in routes[n]["parents"][0]["conditions"]} for n in ("exact", "lost")}
    assert shown == {"exact": {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"},
                     "lost": {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}}
    assert routes["exact"]["rules"][0]["matches"] == ["name a.example.com", "name web"]
    n = len(mesh.access_records())
    served_by(mesh, "b.example.com")
    record = wait_for(lambda: next((r for r in mesh.access_records()[n:] if r.get("route") == "TLSRoute/shop/wild"), None),
                      what="the record")
    assert (record["protocol"], record["backend"]) == ("tls", "shop/tls-b:443")
    x = json.loads(mesh.ctl_run("explain", "https://x.deep.example.com", "-H", "a: b", check=False).stdout or "{}")
    assert x == {}, "no such Service"
    x = json.loads(mesh.ctl_run("explain", "https://edge.shop").stdout)
    assert (x["server_name"], x["result"]["kind"]) == ("edge.shop", "refused")
    x = json.loads(mesh.ctl_run("explain", "http://edge.shop:80").stdout)
    assert x["result"]["kind"] == "pass_through"
