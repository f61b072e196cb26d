# SPDX-License-Identifier: Apache-2.0
"""The backend: an HTTP/1 server that answers with what it saw, and a few plain TCP and UDP ones.

It takes apart nothing that it does not have to: the answer shows the bytes as they came. What it
does is chosen by query parameters of the request:
  status=N       that status                     delay=MS     wait before the head
  size=N         N bytes of pattern, not JSON    chunked=1    answer chunked
  chunk=N        bytes a chunk or write          pause=MS     wait between chunks
  trailers=1     X-Trailer behind a chunked body info=N[,N]   1xx answers first
  close=1        Connection: close               eof=1        body until close, no length
  header=N:V     answer field, may repeat        early=1      answer before reading the body
  reset=W        RST: before, head, body         cut=W        FIN: before, head, body
  noread=1       never read the body             raw=TEXT     these bytes instead of an answer
  stale=ID       (by set) FIN instead of an answer on that connection
  nolength=1     204/304 without a length        upgrade by Upgrade: websocket or Upgrade: echo
NAME.each=A,B,C is NAME=A for the first request with that target, NAME=B for the next, NAME=C from then
on; nothing between the commas is no such option.
A unix socket takes commands, one JSON line each: seen, reset, stats, set.
"""
import argparse
import asyncio
import base64
import collections
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pattern  # noqa: E402
import echo_h2  # noqa: E402

MAX_SEEN = 20000


class State:
    def __init__(self, pod):
        self.pod = pod
        self.seen = []
        self.n_requests = 0
        self.n_accepted = 0
        self.open = []
        self.raw_bytes = 0
        self.bad = []
        self.settings = {}
        self.servers = {}
        self.resets = []  # HTTP/2: connection, stream, code
        self.targets = collections.Counter()

    def option(self, query, nth, name, default=None):
        if name + ".each" in query:
            each = query[name + ".each"][-1].split(",")
            return each[min(nth, len(each) - 1)] or default
        if name in query:
            return query[name][-1]
        return self.settings.get(name, default)

    def count(self, target):
        """How many requests with that target came before."""
        self.targets[target] += 1
        return self.targets[target] - 1


class Bad(Exception):
    pass


async def read_fields(reader):
    fields = []
    while True:
        line = await reader.readuntil(b"\r\n")
        line = line[:-2]
        if not line:
            return fields
        name, colon, value = line.partition(b":")
        if not colon:
            raise Bad(f"field line without colon {line!r}")
        fields.append([name.decode("latin-1"), value.strip(b" \t").decode("latin-1")])


def values(fields, name):
    return [v for n, v in fields if n.lower() == name]


class Exchange:
    def __init__(self, state, conn, reader, writer):
        self.state, self.conn = state, conn
        self.reader, self.writer = reader, writer
        self.body_hash = hashlib.sha256()
        self.body_len = 0
        self.body_head = b""
        self.trailers = []
        self.chunks = 0

    def take(self, data):
        self.body_hash.update(data)
        self.body_len += len(data)
        if len(self.body_head) < 256:
            self.body_head += data[:256 - len(self.body_head)]

    async def read_head(self):
        line = await self.reader.readuntil(b"\r\n")
        parts = line[:-2].split(b" ")
        if len(parts) != 3:
            raise Bad(f"request line {line!r}")
        self.method, self.target, self.version = (p.decode("latin-1") for p in parts)
        self.fields = await read_fields(self.reader)
        self.query = urllib.parse.parse_qs(self.target.partition("?")[2], keep_blank_values=True)
        self.record = {"pod": self.state.pod, "method": self.method, "target": self.target,
                       "version": self.version, "headers": self.fields, "conn": self.conn["id"],
                       "nth": self.conn["nth"], "peer": self.conn["peer"], "local": self.conn["local"]}
        self.nth = self.state.count(self.target)
        self.state.n_requests += 1
        if len(self.state.seen) < MAX_SEEN:
            self.state.seen.append(self.record)

    def option(self, name, default=None):
        return self.state.option(self.query, self.nth, name, default)

    async def read_body(self):
        codings = ",".join(values(self.fields, "transfer-encoding")).lower().replace(" ", "")
        lengths = values(self.fields, "content-length")
        if codings and lengths:
            raise Bad("both lengths")
        if len(lengths) > 1:
            raise Bad("several lengths")
        if codings:
            if codings != "chunked":
                raise Bad(f"transfer coding {codings!r}")
            while True:
                line = await self.reader.readuntil(b"\r\n")
                size = int(line[:-2].split(b";")[0], 16)
                if size == 0:
                    break
                self.chunks += 1
                await self.read_n(size)
                if await self.reader.readexactly(2) != b"\r\n":
                    raise Bad("chunk end")
            self.trailers = await read_fields(self.reader)
        elif lengths:
            await self.read_n(int(lengths[0]))
        self.record.update(body_len=self.body_len, body_sha256=self.body_hash.hexdigest(),
                           body_head=self.body_head.decode("latin-1"), trailers=self.trailers,
                           chunks=self.chunks)

    async def read_n(self, left):
        while left:
            while self.state.settings.get("stop_reading"):
                await asyncio.sleep(0.01)
            data = await self.reader.read(min(left, 262144))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            self.take(data)
            left -= len(data)

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def abort(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def broken(self, where):
        if self.option("reset") == where:
            self.abort()
            return True
        return self.option("cut") == where

    async def answer(self):
        """Returns whether the connection goes on."""
        if self.option("early") is None and self.option("noread") is None:
            if "100-continue" in [v.lower() for v in values(self.fields, "expect")] and \
                    self.option("nocontinue") is None:
                await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self.read_body()
        if self.state.settings.get("stale") == self.conn["id"]:
            return False
        if self.option("delay"):
            await asyncio.sleep(int(self.option("delay")) / 1000)
        if self.broken("before"):
            return False
        if self.option("raw") is not None:
            await self.write(self.option("raw").encode("latin-1"))
            return False
        for code in filter(None, (self.option("info") or "").split(",")):
            await self.write(f"HTTP/1.1 {code} Info\r\nX-Info: {code}\r\n\r\n".encode())

        status = int(self.option("status", "200"))
        size = self.option("size")
        total = int(size) if size is not None else None
        body = b"" if total is not None else json.dumps(self.record).encode()
        length = total if total is not None else len(body)
        lines = [f"HTTP/1.1 {status} Status", f"X-Pod: {self.state.pod}"]
        lines += self.query.get("header", [])
        lines.append("Content-Type: " + ("application/octet-stream" if size is not None else "application/json"))
        close = self.option("close") is not None or self.option("eof") is not None or self.version == "HTTP/1.0"
        chunked = self.option("chunked") is not None or self.option("trailers") is not None
        bodyless = status in (204, 304) or status < 200
        if close:
            lines.append("Connection: close")
        if self.option("eof") is not None or (bodyless and self.option("nolength") is not None) or status == 204:
            pass
        elif chunked:
            lines.append("Transfer-Encoding: chunked")
            if self.option("trailers") is not None:
                lines.append("Trailer: X-Trailer")
        else:
            lines.append(f"Content-Length: {length}")
        await self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if self.broken("head"):
            return False
        if self.method != "HEAD" and not bodyless:
            await self.write_body(total, body, chunked)
            if self.broken("body"):
                return False
            if chunked:
                tail = b"X-Trailer: behind\r\n" if self.option("trailers") is not None else b""
                await self.write(b"0\r\n" + tail + b"\r\n")
        if self.option("early") is not None:
            await self.read_body()
        return not close and self.option("noread") is None

    async def write_body(self, total, body, chunked):
        step = int(self.option("chunk", "65536"))
        pause = int(self.option("pause", "0")) / 1000
        length = total if total is not None else len(body)
        stop = length // 2 if self.option("reset") == "body" or self.option("cut") == "body" else length
        offset = 0
        while offset < stop:
            n = min(step, stop - offset)
            data = pattern.piece(offset, n) if total is not None else body[offset:offset + n]
            await self.write(b"%x\r\n%s\r\n" % (n, data) if chunked else data)
            offset += n
            if pause:
                await asyncio.sleep(pause)

    async def upgrade(self, kind):
        lines = ["HTTP/1.1 101 Switching Protocols", f"Upgrade: {kind}", "Connection: Upgrade",
                 f"X-Pod: {self.state.pod}"]
        if kind == "websocket":
            key = values(self.fields, "sec-websocket-key")[0]
            accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            lines.append("Sec-WebSocket-Accept: " + base64.b64encode(accept).decode())
        await self.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if kind != "websocket":
            await pump(self.state, self.reader, self.writer)
            return
        while True:
            head = await self.reader.readexactly(2)
            n = head[1] & 127
            ext = b""
            if n == 126:
                ext = await self.reader.readexactly(2)
                n = struct.unpack("!H", ext)[0]
            elif n == 127:
                ext = await self.reader.readexactly(8)
                n = struct.unpack("!Q", ext)[0]
            mask = await self.reader.readexactly(4)
            data = bytearray(await self.reader.readexactly(n))
            for i in range(n):
                data[i] ^= mask[i & 3]
            await self.write(bytes([head[0], head[1] & 127]) + ext + bytes(data))
            if head[0] & 15 == 8:
                return


def describe(state, writer):
    state.n_accepted += 1
    peer = writer.get_extra_info("peername")
    local = writer.get_extra_info("sockname")
    return {"id": state.n_accepted, "nth": 0, "peer": list(peer[:2]) if peer else None,
            "local": list(local[:2]) if local else None}


async def serve_http(state, reader, writer):
    conn = describe(state, writer)
    state.open.append(conn)
    try:
        while True:
            conn["nth"] += 1
            x = Exchange(state, conn, reader, writer)
            await x.read_head()
            upgrades = values(x.fields, "upgrade")
            if upgrades and x.option("noupgrade") is None:
                await x.upgrade(upgrades[0])
                break
            if not await x.answer():
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    except (Bad, ValueError, asyncio.LimitOverrunError) as e:
        state.bad.append(str(e))
    finally:
        state.open.remove(conn)
        writer.close()


async def pump(state, reader, writer):
    """Echo; a FIN is answered by a FIN once everything is back."""
    while True:
        data = await reader.read(262144)
        if not data:
            break
        state.raw_bytes += len(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def serve_echo(state, reader, writer):
    describe(state, writer)
    try:
        await pump(state, reader, writer)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve_banner(state, reader, writer):
    """The server speaks first, as SMTP and SSH do."""
    conn = describe(state, writer)
    try:
        writer.write(f"220 {state.pod} ready for {conn['peer'][0]}\r\n".encode())
        await writer.drain()
        await pump(state, reader, writer)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve_sink(state, reader, writer):
    """Reads to the FIN, then says how much came and its digest."""
    describe(state, writer)
    h, n = hashlib.sha256(), 0
    try:
        while True:
            data = await reader.read(262144)
            if not data:
                break
            h.update(data)
            n += len(data)
        writer.write(f"{n} {h.hexdigest()}\n".encode())
        await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve_source(state, reader, writer):
    """Takes a number in a line, sends that many bytes of pattern and a FIN, then waits for the peer's."""
    describe(state, writer)
    try:
        total = int(await reader.readline())
        for p in pattern.pieces(total):
            writer.write(p)
            await writer.drain()
        writer.write_eof()
        await reader.read()
    except (ConnectionError, ValueError):
        pass
    finally:
        writer.close()


class UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve_h2(state, reader, writer):
    await echo_h2.serve(state, describe(state, writer), reader, writer)


HANDLERS = {"h2": serve_h2, "http": serve_http, "echo": serve_echo, "banner": serve_banner, "sink": serve_sink,
            "source": serve_source, "tls": serve_http}


async def listen(state, kind, port, cert):
    context = None
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
    servers = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        if kind == "udp":
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            await asyncio.get_running_loop().create_datagram_endpoint(UdpEcho, sock=sock)
        else:
            servers.append(await asyncio.start_server(
                lambda r, w: HANDLERS[kind](state, r, w), address, port, family=family, backlog=1024,
                limit=1 << 20, ssl=context))
    state.servers[port] = servers


async def serve_control(state, reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        command = json.loads(line)
        name = command["cmd"]
        answer = {}
        if name == "seen":
            answer = state.seen
        elif name == "reset":
            state.seen, state.bad, state.n_requests, state.raw_bytes = [], [], 0, 0
            state.n_accepted = 0
            state.resets = []
            state.settings = {}
            state.targets.clear()
        elif name == "set":
            state.settings.update(command["settings"])
            state.settings = {k: v for k, v in state.settings.items() if v is not None}
        elif name == "stats":
            answer = {"requests": state.n_requests, "accepted": state.n_accepted, "open": len(state.open),
                      "peers": [conn["peer"] for conn in state.open],
                      "raw_bytes": state.raw_bytes, "bad": state.bad, "resets": state.resets}
        elif name == "close":
            for server in state.servers.pop(command["port"]):
                server.close()
        elif name == "listen":
            await listen(state, command["kind"], command["port"], None)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pod", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--cert")
    parser.add_argument("listen", nargs="+", help="KIND:PORT")
    args = parser.parse_args()
    state = State(args.pod)
    for spec in args.listen:
        kind, port = spec.split(":")
        await listen(state, kind, int(port), args.cert)
    # Last, as its socket file tells the harness that all of the others are open.
    await asyncio.start_unix_server(lambda r, w: serve_control(state, r, w), args.control, limit=1 << 24)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
