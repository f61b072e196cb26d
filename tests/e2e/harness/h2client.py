# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/2 with prior knowledge, and frames that no library would write."""
import socket
import struct

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .rawhttp import Closed, Response
from .wait import scaled

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# Indexed fields of RFC 7541, and a literal :authority: GET / http web
GET = bytes([0x82, 0x84, 0x86, 0x41, 3]) + b"web"


class Reset(AssertionError):
    def __init__(self, code):
        super().__init__(f"the stream was reset with {code}")
        self.code = code


def connect(addr, timeout=10):
    sock = socket.socket(socket.AF_INET6 if ":" in addr[0] else socket.AF_INET)
    sock.settimeout(scaled(timeout))
    sock.connect(tuple(addr))
    return sock


class Stream:
    def __init__(self):
        self.headers, self.body, self.trailers, self.info = None, b"", [], []
        self.ended, self.code = False, None


class Conn:
    """One connection; streams are told apart by their numbers."""

    def __init__(self, addr, timeout=10, window=None, settings=None, sock=None):
        self.sock = sock or connect(addr, timeout)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        values = {h2.settings.SettingCodes.ENABLE_PUSH: 0,
                  h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window or 65535, **(settings or {})}
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.streams = {}
        self.goaway = None
        self.hold = set()  # streams whose window stays as it is
        self.settled = False
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def open(self, method="GET", target="/", host="web", headers=(), end=True, protocol=None):
        id = self.h2.get_next_available_stream_id()
        fields = [(":method", method)]
        if protocol:
            fields.append((":protocol", protocol))
        if method != "CONNECT" or protocol:
            fields += [(":scheme", "http"), (":path", target)]
        fields += [(":authority", host)] + [(n.lower(), v) for n, v in headers]
        self.streams[id] = Stream()
        self.h2.send_headers(id, fields, end_stream=end)
        self.flush()
        return id

    def send(self, id, data, end=False):
        """All of it, with reading while the window is shut."""
        while data or end:
            room = min(self.h2.local_flow_control_window(id), self.h2.max_outbound_frame_size)
            if data and not room:
                self.step()
                if self.streams[id].code is not None:
                    raise Reset(self.streams[id].code)
                continue
            part, data = data[:room], data[room:]
            self.h2.send_data(id, part, end_stream=end and not data)
            self.flush()
            if not data:
                break

    def end(self, id, trailers=None):
        if trailers:
            self.h2.send_headers(id, [(n.lower(), v) for n, v in trailers], end_stream=True)
        else:
            self.h2.end_stream(id)
        self.flush()

    def reset(self, id, code=h2.errors.ErrorCodes.CANCEL):
        self.h2.reset_stream(id, code)
        self.flush()

    def step(self):
        """Reads once. False at the end of the connection."""
        data = self.sock.recv(65536)
        if not data:
            return False
        for e in self.h2.receive_data(data):
            self._event(e)
        self.flush()
        return True

    def _event(self, e):
        s = self.streams.get(getattr(e, "stream_id", None))
        if isinstance(e, h2.events.ConnectionTerminated):
            self.goaway = int(e.error_code)
        elif isinstance(e, h2.events.RemoteSettingsChanged):
            self.settled = True
        elif not s:
            return
        elif isinstance(e, h2.events.InformationalResponseReceived):
            s.info.append(e.headers)
        elif isinstance(e, h2.events.ResponseReceived):
            s.headers = e.headers
        elif isinstance(e, h2.events.DataReceived):
            s.body += e.data
            if e.stream_id not in self.hold and e.flow_controlled_length:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        elif isinstance(e, h2.events.TrailersReceived):
            s.trailers = e.headers
        elif isinstance(e, h2.events.StreamEnded):
            s.ended = True
        elif isinstance(e, h2.events.StreamReset):
            s.code = int(e.error_code)

    def wait(self, check, what="the answer"):
        while not check():
            if not self.step():
                raise Closed(f"closed before {what}, GOAWAY {self.goaway}")

    def read(self, id):
        """The whole response."""
        s = self.streams[id]
        self.wait(lambda: s.ended or s.code is not None)
        if not s.ended:
            raise Reset(s.code)
        return self.response(s)

    @staticmethod
    def response(s):
        def head(fields, **kw):
            plain = [(n, v) for n, v in fields if not n.startswith(":")]
            return Response("HTTP/2", int(dict(fields)[":status"]), "", plain, **kw)
        return head(s.headers, body=s.body, trailers=[tuple(t) for t in s.trailers],
                    informational=[head(i) for i in s.info])

    def read_head(self, id):
        s = self.streams[id]
        self.wait(lambda: s.headers or s.code is not None)
        if s.headers is None:
            raise Reset(s.code)
        return self.response(s)

    def read_to_end(self):
        """The end of the connection; returns the code of its GOAWAY."""
        try:
            while self.step():
                pass
        except ConnectionResetError:
            pass
        return self.goaway

    def request(self, method="GET", target="/", host="web", headers=(), body=None, trailers=None):
        """body bytes get a Content-Length; a list of bytes goes out without."""
        headers = list(headers)
        if isinstance(body, bytes):
            headers.append(("content-length", str(len(body))))
        parts = [body] if isinstance(body, bytes) else body or []
        id = self.open(method, target, host, headers, end=body is None and not trailers)
        if body is None and not trailers:
            return self.read(id)
        try:
            for part in parts:
                self.send(id, part)
            self.end(id, trailers)
        except h2.exceptions.StreamClosedError:
            pass  # answered already
        return self.read(id)


def fetch(addr, timeout=10, **kw):
    with Conn(addr, timeout) as c:
        return c.request(**kw)


def frame(type, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([type, flags]) + struct.pack("!I", stream) + payload
