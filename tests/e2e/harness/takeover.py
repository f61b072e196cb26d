# SPDX-License-Identifier: Apache-2.0
"""The handover protocol as a test speaks it: a process that wants to take over, or one that is to hand over, which
fails where the test wants it. docs/architecture/upgrade.md describes the frames."""
import array
import os
import re
import select
import socket
import struct

from .wait import scaled

HELLO, REFUSE, SOURCE, SOCKET, OFFERED, PREPARED, GO, ACTIVE, HANDED, HAS, ACCEPTED, BYE, YOURS = range(1, 14)
NAMES = ["", "hello", "refuse", "source", "socket", "offered", "prepared", "go", "active", "handed", "has", "accepted",
         "bye", "yours"]
VERSION = 2


def _abi():
    header = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "include", "sluice", "abi.h")
    with open(header) as f:
        return int(re.search(r"#define SL_ABI_VERSION (\d+)", f.read()).group(1))


ABI = _abi()  # with another one the agent would accept nothing until the takeover ends


def number(value, size=8):
    return value.to_bytes(size, "little")


def body_of(fields):
    return b"".join(struct.pack("<HI", tag, len(v)) + v for tag, v in fields.items())


class Frame:
    def __init__(self, kind, body, fds):
        self.kind, self.body, self.fds = kind, body, fds
        self.fields = {}
        while body:
            tag, n = struct.unpack_from("<HI", body)
            self.fields[tag], body = body[6:6 + n], body[6 + n:]

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
        self.send_body(kind, body_of(fields or {}), fds)

    def send_body(self, kind, body, fds=()):
        frame = struct.pack("<IHH", len(body), kind, len(fds)) + body
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([frame], control)
        if sent < len(frame):
            self.sock.sendall(frame[sent:])

    def more(self):
        """Reads once; False at the end."""
        data, control, flags, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
        assert not flags & socket.MSG_CTRUNC
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
                self.fds += fds
        self.buf += data
        return bool(data)

    def take(self):
        """A frame that was read, or None."""
        if len(self.buf) < 8:
            return None
        size, kind, n_fds = struct.unpack_from("<IHH", self.buf)
        if len(self.buf) < 8 + size:
            return None
        body, self.buf = self.buf[8:8 + size], self.buf[8 + size:]
        fds, self.fds = self.fds[:n_fds], self.fds[n_fds:]
        return Frame(kind, body, fds)

    def receive(self):
        """The next frame, or None at the end."""
        while not (frame := self.take()):
            if not self.more():
                return None
        return frame

    def until(self, kind):
        """Frames up to the first of that kind, which comes last."""
        frames = []
        while True:
            f = self.receive()
            assert f is not None, f"the end instead of {NAMES[kind]}; before: {frames}"
            frames.append(f)
            if f.kind == kind:
                return frames

    def hello(self, pins, version=VERSION, min_version=1, abi=ABI, more=None):
        st = os.stat(pins)
        fields = {1: number(version, 4), 2: number(min_version, 4), 3: number(abi, 4), 4: number(st.st_dev),
                  5: number(st.st_ino), 6: b"a test"}
        self.send(HELLO, {**fields, **(more or {})})

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.sock.close()


def relay(listener, path, change):
    """Between a process that calls at listener and the one that listens at path, until either ends. Each frame goes as
    change(frame, peer) says, which returns its kind and body, or None to keep it back; peer is whom it comes from."""
    sock, _ = listener.accept()
    os.unlink(listener.getsockname())  # which the caller will want for itself
    listener.close()
    new, old = Peer(sock), Peer.connect(path)
    other = {new: old, old: new}
    while True:
        ready, _, _ = select.select([p.sock for p in other], [], [], scaled(30))
        assert ready, "nobody says anything"
        for p in other:
            if p.sock in ready and not p.more():
                return
            while frame := p.take():
                changed = change(frame, p)
                if changed:
                    other[p].send_body(*changed, frame.fds)
                frame.close()
