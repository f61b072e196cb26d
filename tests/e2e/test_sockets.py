# SPDX-License-Identifier: Apache-2.0
"""Every kind of client socket: steered, and unaware of it; or left to the failure policy, and counted."""
import ctypes
import errno
import os
import select
import socket
import struct

import pytest

from harness import manifests as m, rawhttp
from harness.wait import scaled

IP_TRANSPARENT, IP_FREEBIND, TCP_FASTOPEN_CONNECT, IPPROTO_MPTCP = 19, 15, 30, 262


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("all", [m.rule(m.exact("/routed"), "a")])
    w.start()
    return w


def steered(sock):
    """Only the mesh knows the path: /routed is answered by a, everything else by 404."""
    c = rawhttp.Conn(None, sock)
    r = c.request(target="/routed")
    assert (r.status, r.seen["pod"]) == (200, "a"), r
    assert c.request(target="/nowhere").status == 404, "the rules decide"
    return r.seen


def plain(family):
    s = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    s.settimeout(scaled(5))
    return s


def reason(mesh, name):
    return mesh.metrics().sum("sluice_datapath_connects_total", reason=name)


@pytest.mark.parametrize("family", [4, 6])
def test_the_application_sees_the_addresses_that_it_expects(mesh, family):
    addr = mesh.addr(family=family)
    own = mesh.client.v4 if family == 4 else mesh.client.v6

    def run():
        with plain(family) as s:
            s.connect(addr)
            names = s.getpeername()[:2], s.getsockname()[:2]
            steered(s)
            return names, (s.getpeername()[:2], s.getsockname()[:2])
    before, after = mesh.client.call(run)
    assert before == after
    peer, name = before
    assert peer == addr
    assert name[0] == own, "never loopback"


def test_v4_mapped(mesh):
    def run():
        with socket.socket(socket.AF_INET6) as s:
            s.settimeout(scaled(5))
            s.connect(("::ffff:" + mesh.addr()[0], 80))
            peer, name = s.getpeername()[0], s.getsockname()[0]
            steered(s)
            return peer, name
    assert mesh.client.call(run) == ("::ffff:" + mesh.addr()[0], "::ffff:" + mesh.client.v4)


def test_v6only(mesh):
    def run():
        with plain(6) as s:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.connect(mesh.addr(family=6))
            steered(s)
            return s.getpeername()[0]
    assert mesh.client.call(run) == mesh.addr(family=6)[0]


@pytest.mark.parametrize("family", [4, 6])
def test_non_blocking(mesh, family):
    def run():
        with plain(family) as s:
            s.setblocking(False)
            assert s.connect_ex(mesh.addr(family=family)) in (0, errno.EINPROGRESS)
            assert select.select([], [s], [], scaled(5))[1]
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            s.setblocking(True)
            steered(s)
    mesh.client.call(run)


@pytest.mark.parametrize("family", [4, 6])
def test_fast_open_connect(mesh, family):
    def run():
        with plain(family) as s:
            s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            s.connect(mesh.addr(family=family))
            steered(s)
    mesh.client.call(run)


def test_sendto_with_fast_open(mesh):
    def run():
        with plain(4) as s:
            s.settimeout(None)
            s.sendto(rawhttp.build(target="/routed"), socket.MSG_FASTOPEN, mesh.addr())
            return rawhttp.Conn(None, s).read_response()
    assert mesh.client.call(run).seen["pod"] == "a"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("port", [0, 23210])
def test_bound_to_the_pods_own_address(mesh, family, port):
    own = mesh.client.v4 if family == 4 else mesh.client.v6

    def run():
        with plain(family) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((own, port))
            s.connect(mesh.addr(family=family))
            steered(s)
            return s.getsockname()[:2], s.getpeername()[:2]
    name, peer = mesh.client.call(run)
    assert (name[0], peer) == (own, mesh.addr(family=family))
    assert port in (0, name[1])


def test_a_bound_port_whose_tuple_is_taken_is_left_to_the_policy(mesh):
    """Two sockets on one port to two Services: towards the agent both would be the same tuple."""
    def run():
        with plain(4) as one, plain(4) as two:
            for s in (one, two):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                s.bind(("0.0.0.0", 23211))
            one.connect(mesh.addr())
            steered(one)
            two.connect(mesh.addr("second"))
            return rawhttp.Conn(None, two).request(target="/open").seen["pod"]
    mesh.add_service("second", [mesh.c], vip=("10.96.0.24", "fd00:96::24"))
    mesh.route("second", [m.rule(m.exact("/routed"), "a")], parents=["second"])
    mesh.wait_answer(lambda r: r.status == 404, "the second Service to be routed", service="second", target="/x")
    before = reason(mesh, "port_taken")
    assert mesh.client.call(run) == "c", "balanced to the Service's endpoint, as without a mesh"
    assert reason(mesh, "port_taken") == before + 1


def test_bound_to_a_device_is_left_to_the_policy(mesh):
    before = reason(mesh, "device")

    def run():
        with plain(4) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            s.connect(mesh.addr())
            return rawhttp.Conn(None, s).request(target="/open").status
    assert mesh.client.call(run) == 200
    assert reason(mesh, "device") == before + 1


@pytest.mark.parametrize("option", [IP_TRANSPARENT, IP_FREEBIND])
def test_a_source_that_is_not_of_the_pod_is_left_to_the_policy(mesh, option):
    before = reason(mesh, "source")

    def run():
        with plain(4) as s:
            s.setsockopt(socket.IPPROTO_IP, option, 1)
            s.bind(("198.51.100.7", 0))
            s.settimeout(0.5)
            with pytest.raises(OSError):
                # Sent from an address that nobody answers to, as it would be without a mesh.
                s.connect(mesh.addr())
    mesh.client.call(run)
    assert reason(mesh, "source") == before + 1


def test_mptcp_is_left_to_the_policy(mesh):
    before = reason(mesh, "mptcp")

    def run():
        try:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        except OSError as e:
            return e.errno
        with s:
            s.settimeout(scaled(5))
            s.connect(mesh.addr())
            return rawhttp.Conn(None, s).request(target="/open").status
    result = mesh.client.call(run)
    if result == 200:
        assert reason(mesh, "mptcp") == before + 1
    else:
        assert result in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT), "a kernel without MPTCP has no such sockets"


def unspecified(sock):
    """connect(2) with AF_UNSPEC: the socket forgets its peer."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=H14x", socket.AF_UNSPEC)
    if libc.connect(sock.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def test_a_socket_may_be_connected_anew(mesh):
    def run():
        with plain(4) as s:
            s.connect(mesh.addr())
            steered(s)
            unspecified(s)
            with pytest.raises(OSError):
                s.getpeername()
            s.connect((mesh.b.v4, 8080))
            assert s.getpeername() == (mesh.b.v4, 8080), "the old original destination is forgotten"
            assert s.getsockname()[0] == mesh.client.v4
            return rawhttp.Conn(None, s).request(target="/x").seen["pod"]
    assert mesh.client.call(run) == "b"


def test_a_socket_may_be_connected_to_the_mesh_after_something_else(mesh):
    def run():
        with plain(4) as s:
            s.connect((mesh.b.v4, 8080))
            unspecified(s)
            s.connect(mesh.addr())
            steered(s)
            return s.getpeername()
    assert mesh.client.call(run) == mesh.addr()


def test_the_backend_sees_the_pods_address(mesh):
    def run():
        with plain(4) as s:
            s.connect(mesh.addr())
            return steered(s)["peer"][0]
    assert mesh.client.call(run) == mesh.client.v4


def test_whoever_calls_the_listener_itself_gets_nothing(mesh):
    """The agent's port in a pod is no way around anything: what was not steered is closed."""
    entry = next(n for n in mesh.ctl("netns")["netns"] if n["name"] == os.path.basename(mesh.client.netns))
    port = next(int(a.rpartition(":")[2]) for a in entry["listeners"] if a.startswith("127."))

    def run():
        with plain(4) as s:
            try:
                s.connect(("127.0.0.1", port))
                s.sendall(rawhttp.build(target="/routed"))
                return s.recv(1000)
            except (ConnectionResetError, BrokenPipeError):
                return b""
    assert mesh.client.call(run) == b""
    assert mesh.metrics().sum("sluice_connections_total", result="not_steered") >= 1


def test_a_forked_child_may_use_the_socket(mesh):
    def run():
        with plain(4) as s:
            s.connect(mesh.addr())
            pid = os.fork()
            if pid == 0:
                try:
                    steered(s)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            return os.waitpid(pid, 0)[1]
    assert mesh.client.call(run) == 0


def test_many_connections_from_one_pod_keep_their_destinations_apart(mesh):
    """Each connection knows where it wanted to go, however many are made at once."""
    services = ["web"] + [f"s{i}" for i in range(4)]
    for i, name in enumerate(services[1:]):
        mesh.add_service(name, [mesh.c], vip=(f"10.96.0.{80 + i}", f"fd00:96::{80 + i}"))
        mesh.route(name, [m.rule(backends="b", filters=m.request_headers(set={"X-Service": name}))], parents=[name])
    for name in services[1:]:
        mesh.wait_answer(lambda r, name=name: r.status == 200 and r.seen["pod"] == "b", name, service=name)

    def run():
        conns = [(name, rawhttp.Conn(mesh.addr(name))) for _ in range(40) for name in services[1:]]
        for name, c in conns:
            c.send(rawhttp.build())
        for name, c in conns:
            assert c.read_response().seen.get_header("x-service") == name
            c.close()
        return len(conns)
    assert mesh.client.call(run, timeout=60) == 160
