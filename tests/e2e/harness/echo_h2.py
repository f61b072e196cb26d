# SPDX-License-Identifier: Apache-2.0
"""The echo backend in HTTP/2 with prior knowledge: the options of echo.py that make sense in it.

reset=W and cut=W reset the stream (cut=W closes the connection); code=N is the code of the reset.
By set: streams=N (SETTINGS_MAX_CONCURRENT_STREAMS, for new connections), noprotocols=1 (no extended
CONNECT), refuse=N (REFUSED_STREAM for the next N requests), goaway=N (the next N requests get a GOAWAY
that leaves them out, and the connection closes), silent=1 (answers no PING), stop_reading=1.
"""
import asyncio
import hashlib
import json
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

import pattern


class Stream:
    def __init__(self, server, id, fields):
        self.server, self.id = server, id
        self.fields = fields
        pseudo = dict(f for f in fields if f[0].startswith(":"))
        self.method, self.target = pseudo.get(":method"), pseudo.get(":path", "")
        self.protocol = pseudo.get(":protocol")
        self.query = urllib.parse.parse_qs(self.target.partition("?")[2], keep_blank_values=True)
        self.parts, self.trailers = asyncio.Queue(), []
        self.hash, self.length, self.head = hashlib.sha256(), 0, b""
        self.unread = 0
        self.window = asyncio.Event()
        state = server.state
        self.nth = state.count(self.target)
        self.record = {"pod": state.pod, "method": self.method, "target": self.target, "version": "HTTP/2",
                       "authority": pseudo.get(":authority"), "protocol": self.protocol,
                       "headers": [list(f) for f in fields if not f[0].startswith(":")], "conn": server.conn["id"],
                       "stream": id, "peer": server.conn["peer"], "local": server.conn["local"]}

    def option(self, name, default=None):
        return self.server.state.option(self.query, self.nth, name, default)

    async def read_body(self):
        while True:
            data = await self.parts.get()
            if data is None:
                break
            while self.server.state.settings.get("stop_reading"):
                await asyncio.sleep(0.01)
            self.hash.update(data)
            self.length += len(data)
            self.head += data[:max(0, 256 - len(self.head))]
            self.server.take(self.id, len(data))
        self.record.update(body_len=self.length, body_sha256=self.hash.hexdigest(),
                           body_head=self.head.decode("latin-1"), trailers=self.trailers)

    async def broken(self, where):
        if self.option("cut") == where:
            self.server.writer.close()
            return True
        if self.option("reset") == where:
            self.server.h2.reset_stream(self.id, int(self.option("code", h2.errors.ErrorCodes.INTERNAL_ERROR)))
            await self.server.flush()
            return True
        return False

    async def send(self, data, end=False):
        while data:
            room = min(self.server.h2.local_flow_control_window(self.id), self.server.h2.max_outbound_frame_size)
            if not room:
                self.window.clear()
                await self.window.wait()
                continue
            self.server.h2.send_data(self.id, data[:room], end_stream=end and len(data) <= room)
            data = data[room:]
            await self.server.flush()

    async def tunnel(self):
        """Echo; END_STREAM is answered by END_STREAM."""
        self.server.h2.send_headers(self.id, [(":status", "200"), ("x-pod", self.server.state.pod)])
        await self.server.flush()
        while (data := await self.parts.get()) is not None:
            self.server.take(self.id, len(data))
            await self.send(data)
        self.server.h2.end_stream(self.id)
        await self.server.flush()

    async def answer(self):
        state, h = self.server.state, self.server.h2
        if self.option("early") is None and self.option("noread") is None:
            if any(n == "expect" for n, _ in self.fields) and self.option("nocontinue") is None:
                h.send_headers(self.id, [(":status", "100")])
                await self.server.flush()
            await self.read_body()
        if self.option("delay"):
            await asyncio.sleep(int(self.option("delay")) / 1000)
        if await self.broken("before"):
            return
        for code in filter(None, (self.option("info") or "").split(",")):
            h.send_headers(self.id, [(":status", code), ("x-info", code)])
        size = self.option("size")
        total = int(size) if size is not None else None
        body = b"" if total is not None else json.dumps(self.record).encode()
        length = total if total is not None else len(body)
        status = int(self.option("status", "200"))
        trailers = self.option("trailers") is not None
        fields = [(":status", str(status)), ("x-pod", state.pod)]
        fields += [tuple(f.lower().split(":", 1)) if ":" in f else (f, "") for f in self.query.get("header", [])]
        fields.append(("content-type", "application/octet-stream" if size is not None else "application/json"))
        bodyless = status in (204, 304) or self.method == "HEAD"
        if self.option("chunked") is None and not trailers and status != 204:
            fields.append(("content-length", str(length)))
        if self.option("trailersonly") is not None:
            fields += [("grpc-status", self.option("trailersonly"))]
            bodyless = True
        h.send_headers(self.id, fields, end_stream=bodyless)
        await self.server.flush()
        if bodyless or await self.broken("head"):
            return
        stop = length // 2 if "body" in (self.option("reset"), self.option("cut")) else length
        step, pause, at = int(self.option("chunk", "65536")), int(self.option("pause", "0")) / 1000, 0
        while at < stop:
            n = min(step, stop - at)
            await self.send(pattern.piece(at, n) if total is not None else body[at:at + n])
            at += n
            if pause:
                await asyncio.sleep(pause)
        if await self.broken("body"):
            return
        if trailers:
            h.send_headers(self.id, [("x-trailer", "behind"), ("grpc-status", "0")], end_stream=True)
        else:
            h.end_stream(self.id)
        await self.server.flush()
        if self.option("early") is not None:
            await self.read_body()

    async def run(self):
        try:
            if self.method == "CONNECT":
                await self.tunnel()
            else:
                await self.answer()
        except (h2.exceptions.ProtocolError, ConnectionError):
            pass  # the stream went meanwhile
        except asyncio.CancelledError:
            pass


class Server:
    def __init__(self, state, conn, reader, writer):
        self.state, self.conn, self.reader, self.writer = state, conn, reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
        codes = h2.settings.SettingCodes
        values = {codes.ENABLE_CONNECT_PROTOCOL: 0 if state.settings.get("noprotocols") else 1,
                  codes.INITIAL_WINDOW_SIZE: 65535}
        if state.settings.get("streams") is not None:
            values[codes.MAX_CONCURRENT_STREAMS] = int(state.settings["streams"])
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self.streams, self.tasks = {}, {}

    async def flush(self):
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    def take(self, id, n):
        if not n:
            return
        if id in self.streams:
            self.streams[id].unread -= n
        try:
            self.h2.acknowledge_received_data(n, id)
        except h2.exceptions.ProtocolError:
            pass
        self.writer.write(self.h2.data_to_send())

    def count_down(self, name):
        n = int(self.state.settings.get(name, 0))
        self.state.settings[name] = max(0, n - 1)
        return n > 0

    def begin(self, e):
        if self.count_down("refuse"):
            self.h2.reset_stream(e.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        if self.count_down("goaway"):
            self.h2.close_connection(last_stream_id=e.stream_id - 2 if e.stream_id > 1 else 0)
            self.closing = True
            return
        s = self.streams[e.stream_id] = Stream(self, e.stream_id, e.headers)
        self.state.n_requests += 1
        self.state.seen.append(s.record)
        self.tasks[e.stream_id] = asyncio.create_task(s.run())

    closing = False

    def event(self, e):
        s = self.streams.get(getattr(e, "stream_id", None))
        if isinstance(e, h2.events.RequestReceived):
            self.begin(e)
        elif isinstance(e, h2.events.DataReceived):
            if s:
                s.parts.put_nowait(e.data)
                s.unread += len(e.data)
                padding = e.flow_controlled_length - len(e.data)
                s.unread += padding
                self.take(e.stream_id, padding)
        elif isinstance(e, h2.events.TrailersReceived) and s:
            s.trailers = [list(h) for h in e.headers]
        elif isinstance(e, h2.events.StreamEnded) and s:
            s.parts.put_nowait(None)
        elif isinstance(e, h2.events.StreamReset):
            self.state.resets.append([self.conn["id"], e.stream_id, int(e.error_code)])
            if s:
                self.tasks[e.stream_id].cancel()
                self.take(e.stream_id, s.unread)  # they count against the connection's window
        elif isinstance(e, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for t in self.streams.values():
                t.window.set()

    async def serve(self):
        self.h2.initiate_connection()
        await self.flush()
        while not self.closing:
            data = await self.reader.read(65536)
            if not data:
                return
            if self.state.settings.get("silent"):
                continue
            for e in self.h2.receive_data(data):
                self.event(e)
            await self.flush()


async def serve(state, conn, reader, writer):
    server = Server(state, conn, reader, writer)
    state.open.append(conn)
    try:
        await server.serve()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    except h2.exceptions.ProtocolError as e:
        state.bad.append(f"{type(e).__name__}: {e}")
    finally:
        state.open.remove(conn)
        for t in server.tasks.values():
            t.cancel()
        writer.close()
