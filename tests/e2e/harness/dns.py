# SPDX-License-Identifier: Apache-2.0
"""A small DNS server on the node, whose answers a test changes while the agent runs."""
import socket
import struct
import threading

from . import netns

TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}
NXDOMAIN, SERVFAIL = 3, 2
SILENCE = -1


class Server:
    """UDP on 127.0.0.1. What it is not told of does not exist."""

    def __init__(self, entry):
        self._answers, self._lock = {}, threading.Lock()
        self.asked = []
        self._stopping = False
        self._socket = self._open(entry)
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @staticmethod
    def _open(entry):
        """A socket belongs to the namespace of the thread that made it."""
        result = []

        def run():
            netns.setns(entry.netns)
            result.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            result[0].bind(("127.0.0.1", 0))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return result[0]

    def set(self, name, *addresses, ttl=1):
        with self._lock:
            self._answers[name] = (0, addresses, ttl)

    def fail(self, name, code):
        """SERVFAIL, NXDOMAIN, or SILENCE."""
        with self._lock:
            self._answers[name] = (code, (), 0)

    def n_asked(self, name):
        return self.asked.count(name)

    def stop(self):
        """A datagram to itself ends the wait for the next one."""
        self._stopping = True
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            if self._stopping:
                return
            answer = self._answer(query)
            if answer:
                self._socket.sendto(answer, client)

    def _answer(self, query):
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(name).lower(), struct.unpack_from("!H", query, at + 1)[0]
        with self._lock:
            self.asked.append(name)
            code, addresses, ttl = self._answers.get(name, (NXDOMAIN, (), 0))
        if code == SILENCE:
            return None
        family = TYPES.get(kind)
        data = [socket.inet_pton(family, a) for a in addresses if family and (":" in a) == (family == socket.AF_INET6)]
        records = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(d)) + d for d in data]
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + query[12:at + 5] + b"".join(records)
