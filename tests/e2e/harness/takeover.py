# SPDX-License-Identifier: Apache-2.0
"""The handover protocol as a test speaks it: a process that wants to take over, or one that is to hand over, which
fails where the test wants it. docs/architecture/upgrade.md describes the frames."""
import array
import os
import socket
import struct

from .wait import scaled

HELLO, REFUSE, SOURCE, SOCKET, OFFERED, PREPARED, GO, ACTIVE, HANDED, HAS, ACCEPTED, BYE = range(1, 13)
NAMES = ["", "hello", "refuse", "source", "socket", "offered", "prepared", "go", "active", "handed", "has", "accepted",
         "bye"]
VERSION = 1


def number(value, size=8):
    return value.to_bytes(size, "little")


class Frame:
    def __init__(self, kind, fields, fds):
        self.kind, self.fields, self.fds = kind, fields, fds

    def number(self, tag):
        return int.from_bytes(self.fields.get(tag, b""), "little")

    def text(self, tag):
        return self.fields.get(tag, b"").decode()

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __repr__(self):
        return f"<{NAMES[self.kind] if self.kind < len(NAMES) else self.kind} {self.fields} {self.fds}>"


class Peer:
    def __init__(self, sock, timeout=10):
        self.sock = sock
        self.sock.settimeout(scaled(timeout))
        self.buf, self.fds = b"", []

    @classmethod
    def connect(cls, path, **kw):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return cls(sock, **kw)

    def send(self, kind, fields=None, fds=()):
        body = b"".join(struct.pack("<HI", tag, len(v)) + v for tag, v in (fields or {}).items())
        frame = struct.pack("<IHH", len(body), kind, len(fds)) + body
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([frame], control)
        if sent < len(frame):
            self.sock.sendall(frame[sent:])

    def _more(self):
        data, control, flags, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
        assert not flags & socket.MSG_CTRUNC
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
                self.fds += fds
        self.buf += data
        return bool(data)

    def receive(self):
        """The next frame, or None at the end."""
        while True:
            if len(self.buf) >= 8:
                size, kind, n_fds = struct.unpack_from("<IHH", self.buf)
                if len(self.buf) >= 8 + size:
                    break
            if not self._more():
                return None
        body, self.buf = self.buf[8:8 + size], self.buf[8 + size:]
        fds, self.fds = self.fds[:n_fds], self.fds[n_fds:]
        fields = {}
        while body:
            tag, n = struct.unpack_from("<HI", body)
            fields[tag], body = body[6:6 + n], body[6 + n:]
        return Frame(kind, fields, fds)

    def until(self, kind):
        """Frames up to the first of that kind, which comes last."""
        frames = []
        while True:
            f = self.receive()
            assert f is not None, f"the end instead of {NAMES[kind]}; before: {frames}"
            frames.append(f)
            if f.kind == kind:
                return frames

    def hello(self, pins, version=VERSION, min_version=1, abi=3, more=None):
        st = os.stat(pins)
        fields = {1: number(version, 4), 2: number(min_version, 4), 3: number(abi, 4), 4: number(st.st_dev),
                  5: number(st.st_ino), 6: b"a test"}
        self.send(HELLO, {**fields, **(more or {})})

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.sock.close()
