# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 spoken byte by byte: the tests decide about every octet, and see every octet."""
import json
import socket

from .wait import scaled


class Closed(AssertionError):
    """The peer closed before the message was whole."""


class Response:
    def __init__(self, version, status, reason, headers, body=b"", trailers=(), informational=()):
        self.version, self.status, self.reason = version, status, reason
        self.headers, self.body = headers, body
        self.trailers, self.informational = list(trailers), list(informational)

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def seen(self):
        """What the echo backend says it received."""
        return Seen(json.loads(self.body))

    def __repr__(self):
        return f"<{self.version} {self.status} {self.headers} {self.body[:200]!r}>"


class Seen(dict):
    """A request as a backend saw it."""

    __getattr__ = dict.__getitem__

    def all(self, name):
        return [v for n, v in self["headers"] if n.lower() == name.lower()]

    def get_header(self, name):
        values = self.all(name)
        return ",".join(values) if values else None

    @property
    def path(self):
        return self["target"].partition("?")[0]

    @property
    def query(self):
        return self["target"].partition("?")[2]


def parse_headers(lines):
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon and name == name.strip(), f"malformed header line {line!r}"
        headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
    return headers


class Conn:
    """One client connection."""

    def __init__(self, addr, sock=None, timeout=10):
        if sock is None:
            sock = socket.socket(socket.AF_INET6 if ":" in addr[0] else socket.AF_INET)
            sock.settimeout(scaled(timeout))
            sock.connect(tuple(addr))
        else:
            sock.settimeout(scaled(timeout))
        self.sock = sock
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, (bytes, bytearray, memoryview)) else data.encode("latin-1"))
        return self

    def _more(self):
        data = self.sock.recv(262144)
        self.buf += data
        return data

    def read_exact(self, n):
        parts, left = [self.buf[:n]], n - len(self.buf)
        self.buf = self.buf[n:]
        while left > 0:
            data = self.sock.recv(min(left, 262144))
            if not data:
                raise Closed(f"closed {left} bytes early")
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def read_line(self):
        while b"\r\n" not in self.buf:
            if not self._more():
                raise Closed(f"closed inside a line, had {self.buf!r}")
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def read_to_eof(self):
        parts = [self.buf]
        self.buf = b""
        while True:
            data = self.sock.recv(262144)
            if not data:
                return b"".join(parts)
            parts.append(data)

    def at_eof(self):
        """True when the peer has closed and nothing is left; waits for one or the other."""
        if self.buf:
            return False
        try:
            return not self._more()
        except ConnectionResetError:
            return True

    def _fields(self):
        lines = []
        while True:
            line = self.read_line()
            if not line:
                return parse_headers(lines)
            lines.append(line)

    def read_head(self):
        parts = self.read_line().split(b" ", 2)
        assert len(parts) == 3 and parts[0].startswith(b"HTTP/1."), f"no status line: {parts!r}"
        return Response(parts[0].decode(), int(parts[1]), parts[2].decode("latin-1"), self._fields())

    def read_response(self, method="GET"):
        """A whole response; 1xx ones before it are kept in its informational."""
        informational = []
        while True:
            r = self.read_head()
            if r.status >= 200 or r.status == 101:
                break
            informational.append(r)
        r.informational = informational
        codings = ",".join(r.all("transfer-encoding")).lower()
        lengths = set(r.all("content-length"))
        assert not (codings and lengths), f"both lengths in a response: {r.headers}"
        assert len(lengths) < 2, f"different lengths: {r.headers}"
        if method == "HEAD" or r.status in (101, 204, 304) or (method == "CONNECT" and r.status == 200):
            return r
        if codings:
            assert codings == "chunked", codings
            r.body, r.trailers = self.read_chunked()
        elif lengths:
            r.body = self.read_exact(int(lengths.pop()))
        else:
            r.body = self.read_to_eof()
        return r

    def read_chunked(self):
        parts = []
        while True:
            size = int(self.read_line().split(b";")[0], 16)
            if size == 0:
                return b"".join(parts), self._fields()
            parts.append(self.read_exact(size))
            assert self.read_line() == b"", "no CRLF behind a chunk"

    def request(self, method="GET", target="/", host="web", headers=(), body=None, version="1.1"):
        return self.send(build(method, target, host, headers, body, version)).read_response(method)


def build(method="GET", target="/", host="web", headers=(), body=None, version="1.1"):
    """A request in bytes. body bytes get a Content-Length; a list of bytes goes out chunked."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{n}: {v}" for n, v in headers]
    tail = b""
    if isinstance(body, (list, tuple)):
        lines.append("Transfer-Encoding: chunked")
        tail = b"".join(chunk(part) for part in body) + b"0\r\n\r\n"
    elif body is not None:
        lines.append(f"Content-Length: {len(body)}")
        tail = body
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + tail


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def fetch(addr, method="GET", target="/", host="web", headers=(), body=None, version="1.1", timeout=10):
    """One request on a connection of its own."""
    with Conn(addr, timeout=timeout) as c:
        return c.request(method, target, host, headers, body, version)
