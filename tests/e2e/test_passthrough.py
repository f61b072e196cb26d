# SPDX-License-Identifier: Apache-2.0
"""What is not HTTP/1 on a routed port goes to the Service's endpoints byte for byte; what is not
routed is not touched at all."""
import hashlib
import socket
import ssl
import struct
import threading

import pytest

from harness import manifests as m, pattern, rawhttp
from harness.wait import scaled, wait_for


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for i, (kind, number) in enumerate([("echo", 9000), ("banner", 9001), ("sink", 9002), ("source", 9003),
                                        ("tls", 8443)]):
        w.add_service(kind, [w.b], [m.port(80, number, "any")], vip=(f"10.96.0.{60 + i}", f"fd00:96::{60 + i}"))
        w.route(kind, [m.rule(backends="a")], parents=[kind])
    w.add_service("mixed", [w.c], [m.port(80, 8080, "http"), m.port(9090, 9000, "raw"), m.port(8080, 8080, "other")],
                  vip=("10.96.0.70", "fd00:96::70"))
    w.route("mixed", [m.rule(backends="a")], parents=[m.parent("mixed", port=80)])
    w.add_service("declared", [w.b], [m.port(80, 9000, "tcp", app_protocol="tcp")], vip=("10.96.0.71", "fd00:96::71"))
    w.route("declared", [m.rule(backends="a")], parents=["declared"])
    w.start()
    return w


def exchange(mesh, service, data, family=4):
    """Send, half-close, and read everything."""
    def run():
        with rawhttp.Conn(mesh.addr(service, family=family)) as c:
            c.send(data)
            c.sock.shutdown(socket.SHUT_WR)
            return c.read_to_eof()
    return mesh.client.call(run)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"\x00\x00\x00\x10binary",
    b"\r\n\x00",
    b"SSH-2.0-test\r\n",
    b"{\"json\": true}\n",
    b"\xff",
    bytes(range(256)) * 100,
], ids=["TLS", "zeros", "CRLF", "SSH", "JSON", "byte", "all bytes"])
def test_other_protocols_pass(mesh, data, family):
    assert exchange(mesh, "echo", data, family) == data


def test_a_server_that_speaks_first_is_heard_at_once(mesh):
    def run():
        with rawhttp.Conn(mesh.addr("banner"), timeout=3) as c:
            greeting = c.read_line()
            c.send(b"HELO me\r\n")
            return greeting, c.read_line()
    greeting, answer = mesh.client.call(run)
    assert greeting == f"220 b ready for {mesh.client.v4}".encode()
    assert answer == b"HELO me"


def test_a_client_that_waits_and_then_speaks_http_is_routed(mesh):
    def run(task):
        with rawhttp.Conn(mesh.addr("mixed")) as c:
            task.report()
            task.wait_stop()
            return c.request().seen["pod"]
    before = mesh.c.backend.stats()["accepted"]
    task = mesh.spawn(mesh.client, run)
    task.next_report()
    # The agent finds nothing to read and dials the default endpoint meanwhile.
    wait_for(lambda: mesh.c.backend.stats()["accepted"] > before, what="the default endpoint to be dialled")
    assert task.stop_and_result() == "a"


def test_a_tunnel_carries_both_ways_at_once(mesh):
    total = 8 << 20

    def run():
        with rawhttp.Conn(mesh.addr("echo"), timeout=60) as c:
            got = hashlib.sha256()

            def read():
                while data := c.sock.recv(262144):
                    got.update(data)
            reader = threading.Thread(target=read)
            reader.start()
            c.send(b"\x00")
            for p in pattern.pieces(total):
                c.send(p)
            c.sock.shutdown(socket.SHUT_WR)
            reader.join()
            return got.hexdigest()
    expected = hashlib.sha256(b"\x00")
    for p in pattern.pieces(total):
        expected.update(p)
    assert mesh.client.call(run, timeout=90) == expected.hexdigest()


def test_half_close_of_the_client_passes_through_a_tunnel(mesh):
    data = b"\x01" + pattern.piece(0, 500000)
    answer = exchange(mesh, "sink", data)
    assert answer.decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"


def test_half_close_of_the_server_passes_through_a_tunnel(mesh):
    """The server sends and closes; the client may go on sending."""
    def run():
        with rawhttp.Conn(mesh.addr("source"), timeout=20) as c:
            c.send(b"3000000\n")
            data = c.read_to_eof()
            c.send(b"still here")
            c.sock.shutdown(socket.SHUT_WR)
            return hashlib.sha256(data).hexdigest(), len(data)
    assert mesh.client.call(run) == (pattern.digest(3000000), 3000000)


def test_a_reset_of_the_client_reaches_the_server(mesh):
    def run():
        c = rawhttp.Conn(mesh.addr("echo"))
        c.send(b"\x00abc")
        c.read_exact(4)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    mesh.client.call(run)
    wait_for(lambda: mesh.metrics().sum("sluice_tunnels_active") == 0, what="the tunnel to end")


def test_tls_ends_at_the_server(mesh):
    def run():
        context = ssl.create_default_context(cafile=mesh.fabric.cert)
        with socket.create_connection(mesh.addr("tls"), timeout=scaled(10)) as raw:
            with context.wrap_socket(raw, server_hostname="web") as s:
                return rawhttp.Conn(None, s).request(target="/secret").seen
    seen = mesh.client.call(run)
    assert (seen["pod"], seen["target"], seen["peer"][0]) == ("b", "/secret", mesh.client.v4)


def test_http_on_the_same_kind_of_port_is_routed(mesh):
    assert mesh.fetch(service="echo").seen["pod"] == "a"


@pytest.mark.parametrize("service, port", [("mixed", 9090), ("mixed", 8080), ("declared", 80)])
def test_other_ports_and_ports_declared_as_tcp_are_not_touched(mesh, service, port):
    """Nobody serves them: the mesh does not know these addresses at all."""
    def connects():
        return sum(v for n, _, v in mesh.metrics() if n == "sluice_datapath_connects_total")
    before = connects()

    def run():
        with socket.socket() as s:
            s.settimeout(1)
            s.connect(mesh.addr(service, port))
    with pytest.raises(OSError):
        mesh.client.call(run)
    assert connects() == before


def test_pod_addresses_are_not_touched(mesh):
    def run():
        return rawhttp.fetch((mesh.b.v4, 8080), target="/direct")
    seen = mesh.client.call(run).seen
    assert (seen["pod"], seen["peer"][0]) == ("b", mesh.client.v4)
    assert all(r.get("path") != "/direct" for r in mesh.access_records())


def test_udp_to_a_service_address_is_not_touched(mesh):
    def run():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("10.96.0.60", 80))
            return s.getpeername()
    assert mesh.client.call(run) == ("10.96.0.60", 80)


def test_a_backends_own_calls_are_routed_too(mesh):
    """A server is a client as well: pod c calls a routed Service."""
    r = mesh.fetch(service="mixed", pod=mesh.c)
    assert (r.seen["pod"], r.seen["peer"][0]) == ("a", mesh.c.v4)


def test_a_pod_that_calls_a_service_that_leads_back_to_itself(mesh):
    r = mesh.fetch(service="mixed", pod=mesh.a)
    assert r.seen["pod"] == "a"


def test_tunnels_are_logged_and_counted(mesh):
    before = mesh.metrics().sum("sluice_tunnels_total")
    assert exchange(mesh, "echo", b"\x00" * 1000) == b"\x00" * 1000
    wait_for(lambda: mesh.metrics().sum("sluice_tunnels_total") == before + 1)

    def logged():
        return [r for r in mesh.access_records() if r["protocol"] == "tcp" and r["service"] == "shop/echo:80" and
                r["request_bytes"] == 1000 == r["response_bytes"]]
    record = wait_for(logged)[0]
    assert record["end_reason"] == "complete"
    assert record["source_pod"] == mesh.client.name
