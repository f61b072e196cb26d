# SPDX-License-Identifier: Apache-2.0
"""Many exchanges at once, each through one proxy to one recording backend, in one process and one loop.

A lane is an address of a proxy and the backend's port behind it: all that arrives at that port while
a message is on its way is that message's doing. After each message a probe, a plain request on a
connection of its own, shows whether the lane still answers whom it should."""
import errno
import functools
import heapq
import re
import selectors
import socket
import time

import reference

PROBE = b"GET /probe-%d HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
QUESTION = b"%s /ask-%d HTTP/%s\r\nHost: web\r\n%s\r\n"
_PROBED = re.compile(rb"/probe-(\d+)$")
_ASKED = re.compile(rb"/ask-(\d+)$")


class Outcome:
    """What one proxy made of one message."""

    def __init__(self, case):
        self.case = case
        self.answer = b""       # bytes to the client
        self.reset = False      # and not closed
        self.hang = False
        self.requests = []      # whole ones at the backend, in order
        self.late = False       # a request that was cut stayed open towards the backend
        self.upstream = []      # bytes of each backend connection: (bytes, closed)
        self.probe = None       # None: right


class Upstream:
    """A connection that the backend accepted."""

    def __init__(self, lane, sock):
        self.lane, self.sock = lane, sock
        self.data, self.mark, self.told = b"", 0, 0
        self.continued = False
        self.closed = False

    def partial(self):
        return not self.closed and self.told < len(self.data)


class Lane:
    def __init__(self, engine, address, listener):
        self.engine, self.address, self.listener = engine, address, listener
        self.upstreams = []
        self.case = self.sock = None
        self.probing = True
        self.active = self.begun = 0.0
        listener.setblocking(False)
        engine.selector.register(listener, selectors.EVENT_READ, self._accept)

    # the backend

    def _accept(self, _):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            up = Upstream(self, sock)
            self.upstreams.append(up)
            self.engine.selector.register(sock, selectors.EVENT_READ, functools.partial(self._upstream, up))

    def _drop(self, up):
        if not up.closed:
            up.closed = True
            self.engine.selector.unregister(up.sock)
            up.sock.close()

    def _upstream(self, up, _):
        self.active = time.monotonic()
        try:
            data = up.sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(up)
            return
        up.data += data
        self._serve(up)

    def _serve(self, up):
        while up.told < len(up.data) and not up.closed:
            reading = reference.read_requests(up.data[up.told:])
            if reading.messages:
                r = reading.messages[0]
                up.told += r.end
                up.continued = False
                if not self.probing:
                    self.out.requests.append(r)
                self._answer(up, r)
                continue
            if reading.how == "invalid":
                self._send(up, b"HTTP/1.1 400 Bad Request\r\nX-Backend: invalid\r\nContent-Length: 0\r\n"
                               b"Connection: close\r\n\r\n")
                self._drop(up)
            elif reading.partial and b"100-continue" in reading.partial.list(b"expect") and not up.continued:
                up.continued = True
                self._send(up, b"HTTP/1.1 100 Continue\r\n\r\n")
            return

    def _answer(self, up, r):
        asked = _ASKED.search(r.target)
        if asked and int(asked[1]) == self.case.index and not self.probing:
            self._send(up, self.case.data)
            self.said = True
            if self.case.close:
                self._shut(up.sock)
            return
        status = b"405 Method Not Allowed" if r.method == b"CONNECT" else b"200 OK"
        self._send(up, b"HTTP/1.1 %s\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n%s" %
                   (status, r.target, len(r.target), b"" if r.method == b"HEAD" else r.target))

    def _send(self, up, data):
        try:
            up.sock.sendall(data)
        except OSError:
            self._drop(up)

    # the client

    def start(self, case):
        self.case, self.probing, self.said = case, False, False
        self.out = Outcome(case)
        self._forget()
        data = case.data
        if self.engine.question:
            post = case.method == b"POST"
            data = QUESTION % (case.method, case.index, case.version, b"Content-Length: 2\r\n" if post else b"")
            data += b"hi" if post else b""
        self._connect(data)

    @staticmethod
    def _shut(sock):
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _connect(self, data):
        self.sending, self.half, self.received, self.ended = data, False, b"", False
        self.begun = self.active = time.monotonic()
        self.sock = socket.socket(socket.AF_INET)
        self.sock.setblocking(False)
        error = self.sock.connect_ex(self.address)
        assert error in (0, errno.EINPROGRESS), (self.address, error)
        self.engine.selector.register(self.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self._client)
        self.engine.later(self, 0.01)

    def _client(self, events):
        self.active = time.monotonic()
        if events & selectors.EVENT_WRITE:
            try:
                if self.sending:
                    n = self.sock.send(self.sending)
                    self.sending = self.sending[n:]
            except BlockingIOError:
                pass
            except OSError:
                self.sending = b""
            if not self.sending:
                self.engine.selector.modify(self.sock, selectors.EVENT_READ, self._client)
        if events & selectors.EVENT_READ:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                data = b""
                self.out.reset = self.out.reset or not self.probing
            self.received += data
            if not data:
                self.engine.selector.unregister(self.sock)
                self.ended = True

    def tick(self, now):
        """Looked at from time to time. True: this message is over."""
        if now - self.begun > self.engine.bound and not self.ended:
            if self.probing:
                self.out.probe = self.out.probe or "no answer"
            else:
                self.out.hang = True
            self.engine.selector.unregister(self.sock)
            self.ended = True
        if not self.ended:
            asking = self.engine.question and not self.probing
            if not self.half and not self.sending and now - self.active > self.engine.quiet and \
                    (self.said or not asking):
                self.half = True
                self._shut(self.sock)
                if asking:  # the backend, too, has said all that it will
                    for up in self.upstreams:
                        if not up.closed:
                            self._shut(up.sock)
            return False
        return self._end_phase(now)

    def _end_phase(self, now):
        if now - self.active < self.engine.grace:
            return False
        if not self.probing and any(up.partial() for up in self.upstreams):
            if now - self.begun <= self.engine.bound:
                return False
            self.out.late = True
        self.sock.close()
        if not self.probing:
            self.out.answer = self.received
            self.out.upstream = [(up.data[up.mark:], up.closed) for up in self.upstreams if len(up.data) > up.mark]
            for up in self.upstreams:
                up.mark = len(up.data)
            self.probing = True
            self._connect(PROBE % self.case.index)
            return False
        self._judge_probe()
        self._forget()
        return True

    def _judge_probe(self):
        reading = reference.read_responses(self.received, [b"GET"], True)
        wanted = b"/probe-%d" % self.case.index
        finals = [m for m in reading.messages if m.status >= 200]
        if len(finals) != 1 or finals[0].body != wanted or reading.how != "end":
            self.out.probe = self.out.probe or repr(self.received[:300])

    def _forget(self):
        """What the backend's connections said so far is done with."""
        for up in self.upstreams:
            up.mark = len(up.data)
        self.upstreams = [up for up in self.upstreams if not up.closed]


class Engine:
    """question: the message is the backend's answer to a plain request, not the client's request."""

    def __init__(self, bound, quiet, grace=0.03, question=False):
        self.bound, self.quiet, self.grace, self.question = bound, quiet, grace, question
        self.selector = selectors.DefaultSelector()
        self.heap = []
        self.serial = 0

    def later(self, lane, delay):
        self.serial += 1
        heapq.heappush(self.heap, (time.monotonic() + delay, self.serial, lane))

    def run(self, lanes, cases):
        """lanes: name of a proxy -> its lanes. Each case through each proxy, in whatever lane is free.
        name -> outcomes in the order of the cases."""
        outcomes = {name: {} for name in lanes}
        waiting = {name: list(reversed(cases)) for name in lanes}
        self.n_busy = 0

        def feed(name, lane):
            if waiting[name]:
                self.n_busy += 1
                lane.name = name
                lane.start(waiting[name].pop())

        for name, of_name in lanes.items():
            for lane in of_name:
                feed(name, lane)
        while self.n_busy:
            for key, events in self.selector.select(max(0.0, self.heap[0][0] - time.monotonic())):
                key.data(events)
            now = time.monotonic()
            while self.heap and self.heap[0][0] <= now:
                lane = heapq.heappop(self.heap)[2]
                connected = lane.sock
                if lane.tick(now):
                    outcomes[lane.name][lane.case.index] = lane.out
                    self.n_busy -= 1
                    feed(lane.name, lane)
                elif lane.sock is connected:
                    self.later(lane, 0.01)
        return {name: [outs[c.index] for c in cases] for name, outs in outcomes.items()}
