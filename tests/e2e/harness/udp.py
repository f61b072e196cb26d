# SPDX-License-Identifier: Apache-2.0
"""A UDP server that says in which pod it is, in words or as DNS, and clients that ask it."""
import select
import socket

from .wait import scaled

NAME = "pod.mesh.test"


def _dns_answer(query, address):
    """One A record for any question; none for other types."""
    end = query.index(b"\0", 12) + 5
    wanted = query[end - 4:end - 2] == b"\x00\x01"
    head = query[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if wanted else b"\x00\x00") + b"\x00\x00\x00\x00"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(address)
    return head + query[12:end] + (record if wanted else b"")


def serve(task, pod, port=5300):
    """For spawn(): until it is stopped. "who" is answered with the pod's name, DNS with its address, "from" with what
    the server sees of the client."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", port))
        task.report("ready")
        while not task.stopping():
            if not select.select([s, task._child], [], [])[0] or task.stopping():
                continue
            data, client = s.recvfrom(4096)
            if data == b"from":
                answer = client[0].removeprefix("::ffff:").encode()
            else:
                answer = pod.name.encode() if data == b"who" else _dns_answer(data, pod.v4)
            s.sendto(answer, client)


def _socket(address):
    s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(scaled(5))
    return s


def ask(s, address, text=b"who"):
    """By a socket that is not connected; the answer has to come from who was asked."""
    s.sendto(text, address)
    data, peer = s.recvfrom(100)
    assert peer[:2] == address[:2], peer
    return data.decode()


def asked(address, connected=False, text=b"who"):
    """By a socket of its own; None: refused."""
    with _socket(address) as s:
        try:
            if not connected:
                return ask(s, address, text)
            s.connect(address)
            assert s.getpeername()[:2] == address[:2]
            s.send(text)
            data, peer = s.recvfrom(100)
            assert peer[:2] == address[:2], peer
            return data.decode()
        except ConnectionRefusedError:
            return None
