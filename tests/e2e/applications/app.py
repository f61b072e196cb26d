# SPDX-License-Identifier: Apache-2.0
"""app.py client MODE IP PORT [chunks] [half-close] | server MODE IP PORT: the exchanges of README.md by Python's sockets, http.client
and asyncio; chunks and half-close are left out where the other side cannot do them."""
import asyncio
import http.client
import http.server
import socket
import socketserver
import sys
import time

PRIME = 65521
BLOCK = bytes((j * 31 + (j >> 3) * 17 + (j >> 8) * 7) & 255 for j in range(PRIME))
LONG = BLOCK * 18
SIZES = (0, 1, 100, 1000, 10000, 100000, 1000000)
LARGE, SLOW, HALF = 6000000, 1500000, 50000


def body(n):
    return (BLOCK * (n // PRIME + 1))[:n]


class Checker:
    """Bytes as they come."""

    def __init__(self):
        self.n = 0

    def feed(self, data):
        at = self.n % PRIME
        for i in range(0, len(data), 1000000):
            part = data[i:i + 1000000]
            assert part == LONG[at:at + len(part)], f"wrong bytes behind {self.n}"
            self.n += len(part)
            at = self.n % PRIME


def parse_target(target):
    """/down/N, /downc/N -> (kind, N)."""
    _, kind, n = target.split("/")
    return kind, int(n)


# Clients on a plain socket: blocking for ever, or with a timeout (which makes the descriptor non-blocking).

class Raw:
    def __init__(self, ip, port, timeout):
        self.addr = (ip, port)
        self.sock = socket.create_connection(self.addr, timeout=timeout)
        self.data = b""

    def more(self, n=65536):
        part = self.sock.recv(n)
        assert part, "the end came early"
        self.data += part

    def line(self):
        while b"\n" not in self.data:
            self.more()
        line, _, self.data = self.data.partition(b"\n")
        return line.rstrip(b"\r")

    def take(self, n, each, pause=0.0):
        while n:
            if not self.data:
                time.sleep(pause)
                self.more(min(n, 65536))
            part, self.data = self.data[:n], self.data[n:]
            n -= len(part)
            each(part)

    def answer(self, each, pause=0.0):
        status = self.line()
        assert status == b"HTTP/1.1 200 OK", status
        fields = {}
        while line := self.line():
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        if b"content-length" in fields:
            self.take(int(fields[b"content-length"]), each, pause)
            return
        while size := int(self.line(), 16):
            self.take(size, each, pause)
            assert self.line() == b""
        assert self.line() == b""

    def get(self, n, kind="down", pause=0.0):
        self.sock.sendall(f"GET /{kind}/{n} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
        c = Checker()
        self.answer(c.feed, pause)
        assert c.n == n

    def post(self, n, chunked=False):
        head = f"POST /up/{n} HTTP/1.1\r\nHost: app\r\n"
        if chunked:
            self.sock.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
            data = body(n)
            for i in range(0, n, 7777):
                part = data[i:i + 7777]
                self.sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            self.sock.sendall(b"0\r\n\r\n")
        else:
            self.sock.sendall((head + f"Content-Length: {n}\r\n\r\n").encode() + body(n))
        said = []
        self.answer(said.append)
        assert b"".join(said) == b"%d ok" % n, said

    def half_close(self, n):
        self.sock.sendall(f"GET /down/{n} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
        self.sock.shutdown(socket.SHUT_WR)
        c = Checker()
        self.answer(c.feed)
        assert c.n == n and self.data == b"" and self.sock.recv(1) == b"", "not the end"


def client_raw(ip, port, timeout, without):
    c = Raw(ip, port, timeout)
    for n in SIZES:
        c.get(n)
        c.post(n)
        if "chunks" not in without:
            c.get(n, "downc")
            c.post(n, True)
    c.post(LARGE)
    c.get(LARGE)
    c.get(SLOW, pause=0.005)
    if "half-close" not in without:
        c.half_close(HALF)


def client_http(ip, port):
    conn = http.client.HTTPConnection(ip, port, timeout=60)
    ports = set()

    def ask(method, target, data=None, chunked=False, pause=0.0):
        conn.request(method, target, data, encode_chunked=chunked,
                     headers={"Transfer-Encoding": "chunked"} if chunked else {})
        ports.add(conn.sock.getsockname())
        r = conn.getresponse()
        assert r.status == 200, r.status
        c, text = Checker(), b""
        while part := r.read(50000):
            time.sleep(pause)
            if method == "GET":
                c.feed(part)
            text += part if method == "POST" else b""
        return c.n, text

    for n in SIZES:
        assert ask("GET", f"/down/{n}")[0] == n
        assert ask("GET", f"/downc/{n}")[0] == n
        assert ask("POST", f"/up/{n}", body(n))[1] == b"%d ok" % n
        data = body(n)
        parts = (data[i:i + 9999] for i in range(0, n, 9999))
        assert ask("POST", f"/up/{n}", parts, True)[1] == b"%d ok" % n
    assert ask("POST", f"/up/{LARGE}", body(LARGE))[1] == b"%d ok" % LARGE
    assert ask("GET", f"/down/{LARGE}")[0] == LARGE
    assert ask("GET", f"/down/{SLOW}", pause=0.005)[0] == SLOW
    assert len(ports) == 1, "not one connection"


async def read_answer(reader, each, pause=0.0):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK", head
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}

    async def take(n):
        while n:
            part = await reader.read(min(n, 65536))
            assert part, "the end came early"
            each(part)
            n -= len(part)
            if pause:
                await asyncio.sleep(pause)
    if b"content-length" in fields:
        await take(int(fields[b"content-length"]))
        return
    while size := int(await reader.readline(), 16):
        await take(size)
        await reader.readline()
    await reader.readline()


async def client_asyncio(ip, port):
    reader, writer = await asyncio.open_connection(ip, port)

    async def get(n, kind="down", pause=0.0):
        writer.write(f"GET /{kind}/{n} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
        c = Checker()
        await read_answer(reader, c.feed, pause)
        assert c.n == n

    async def post(n):
        writer.write(f"POST /up/{n} HTTP/1.1\r\nHost: app\r\nContent-Length: {n}\r\n\r\n".encode() + body(n))
        await writer.drain()
        said = []
        await read_answer(reader, said.append)
        assert b"".join(said) == b"%d ok" % n

    for n in SIZES + (LARGE,):
        await get(n)
        await get(n, "downc")
        await post(n)
    await get(SLOW, pause=0.005)
    writer.write(f"GET /down/{HALF} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
    writer.write_eof()
    c = Checker()
    await read_answer(reader, c.feed)
    assert c.n == HALF and await reader.read() == b""


# Servers: threads with blocking sockets or with a timeout, and asyncio.

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, n = parse_target(self.path)
        self.send_response(200)
        self.send_header("Transfer-Encoding" if kind == "downc" else "Content-Length", "chunked" if kind == "downc"
                         else str(n))
        self.end_headers()
        data = body(n)
        if kind == "down":
            self.wfile.write(data)
            return
        for i in range(0, n, 33333):
            part = data[i:i + 33333]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        c = Checker()
        left = int(self.headers.get("Content-Length", -1))
        while left > 0:
            part = self.rfile.read1(min(left, 65536))
            assert part, "the end came early"
            c.feed(part)
            left -= len(part)
        if left < 0:
            while size := int(self.rfile.readline(), 16):
                c.feed(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        said = b"%d ok" % c.n
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args):
        pass


async def serve_asyncio(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            method, target, _ = lines[0].split(b" ")
            kind, n = parse_target(target.decode())
            if method == b"GET":
                data = body(n)
                if kind == "down":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
                    writer.write(data)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for i in range(0, n, 33333):
                        part = data[i:i + 33333]
                        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                        await writer.drain()
                    writer.write(b"0\r\n\r\n")
                await writer.drain()
                continue
            c = Checker()
            await read_body(lines, reader, c.feed)
            said = b"%d ok" % c.n
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def read_body(head, reader, each):
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in head[1:])}
    left = int(fields.get(b"content-length", b"-1"))
    while left > 0:
        part = await reader.read(min(left, 65536))
        assert part, "the end came early"
        each(part)
        left -= len(part)
    while left < 0 and (size := int(await reader.readline(), 16)):
        each(await reader.readexactly(size))
        await reader.readline()
    if left < 0:
        await reader.readline()


def serve(mode, ip, port):
    if mode == "asyncio":
        async def main():
            server = await asyncio.start_server(serve_asyncio, ip, port)
            await server.serve_forever()
        asyncio.run(main())
        return
    Handler.timeout = 60 if mode == "timeout" else None
    # Not HTTPServer: it asks DNS for its own name first.
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer.request_queue_size = 64
    socketserver.ThreadingTCPServer((ip, port), Handler).serve_forever()


def main():
    role, mode, ip, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    if role == "server":
        serve(mode, ip, port)
    elif mode == "blocking":
        client_raw(ip, port, None, sys.argv[5:])
    elif mode == "timeout":
        client_raw(ip, port, 60, sys.argv[5:])
    elif mode == "http.client":
        client_http(ip, port)
    elif mode == "asyncio":
        asyncio.run(client_asyncio(ip, port))
    else:
        sys.exit(f"no mode {mode}")
    print("ok")


main()
