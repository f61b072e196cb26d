# SPDX-License-Identifier: Apache-2.0
"""Messages as their parts, so that each part can be bent before it is written.

A quirk is a function that bends one part; its name is the class of the message in the table. Seeded:
the same seed and index give the same bytes."""
import random

QUIRKS = {"request": {}, "response": {}}


def quirk(name, kind="request"):
    def add(fn):
        QUIRKS[kind][name] = fn
        return fn
    return add


def one_of(name, part, values, kind="request"):
    """A quirk that gives the message's part one of these values."""
    values = list(values)

    def bend(rng, m):
        setattr(m, part, rng.choice(values))
    QUIRKS[kind][name] = bend


def lines(name, values, kind="request"):
    """A quirk that adds one of these field lines (several if a tuple), somewhere."""
    values = list(values)

    def bend(rng, m):
        chosen = rng.choice(values)
        for line in chosen if isinstance(chosen, tuple) else (chosen,):
            m.insert(rng, line)
    QUIRKS[kind][name] = bend


class Part:
    """What requests and responses have in common: raw field lines and a body."""

    def __init__(self):
        self.eol = b"\r\n"
        self.lines = []         # without their ends, each may have an end of its own as a pair
        self.head_end = b"\r\n"
        self.framing = "none"   # none, length, chunked
        self.data = b""
        self.length_text = None
        self.coding_line = b"Transfer-Encoding: chunked"
        self.chunks = []        # raw, with size lines and ends
        self.last_chunk = b"0\r\n"
        self.trailers = b""
        self.chunked_end = b"\r\n"
        self.behind = b""

    def insert(self, rng, line):
        self.lines.insert(rng.randrange(len(self.lines) + 1), line)

    def set_chunks(self, *parts):
        self.framing, self.data = "chunked", b"".join(parts)
        self.chunks = [b"%x\r\n%s\r\n" % (len(p), p) for p in parts]

    def set_length(self, data):
        self.framing, self.data = "length", data

    def _fields(self):
        framing = []
        if self.framing == "length":
            text = self.length_text if self.length_text is not None else b"%d" % len(self.data)
            framing = [b"Content-Length: " + text]
        elif self.framing == "chunked":
            framing = [self.coding_line]
        out = b""
        for line in self.lines + framing:
            text, end = line if isinstance(line, list) else (line, b"\r\n")
            out += text + end
        return out

    def _body(self):
        if self.framing == "chunked":
            return b"".join(self.chunks) + self.last_chunk + self.trailers + self.chunked_end
        return self.data

    def write(self, start):
        return start + self._fields() + self.head_end + self._body() + self.behind


class Request(Part):
    def __init__(self, rng, tag):
        super().__init__()
        self.tag = tag
        self.before = b""
        self.method = rng.choice([b"GET", b"GET", b"POST", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"])
        self.first_space, self.second_space = b" ", b" "
        self.target = b"/" + tag
        self.version = b"HTTP/1.1"
        self.host = b"Host: web"
        self.lines = [b"X-Tag: " + tag]
        if rng.random() < 0.5:
            self.lines.append(rng.choice([b"Accept: */*", b"User-Agent: diff/1", b"Cookie: a=b", b"X-Empty:"]))
        if self.method in (b"POST", b"PUT", b"PATCH"):
            self.give_body(rng)

    def give_body(self, rng):
        if rng.random() < 0.5:
            self.set_length(rng.choice([b"", b"x", b"hello " + self.tag, b"0\r\n\r\n"]))
        else:
            self.set_chunks(*rng.choice([[], [b"x"], [b"hello ", self.tag], [b"\r\n0\r\n\r\n"]]))

    def chunked(self, rng):
        """Make sure that there are chunks to bend."""
        if self.method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
            self.method = b"POST"
        self.set_chunks(*rng.choice([[b"x"], [b"hello ", self.tag], [b"0123456789abcdef0"]]))

    def bytes(self):
        if self.host is not None:
            self.lines.insert(0, self.host)
            self.host = None
        start = self.before + self.method + self.first_space + self.target + self.second_space + self.version
        return self.write(start + self.eol)


class Response(Part):
    def __init__(self, rng, tag):
        super().__init__()
        self.tag = tag
        self.before = b""
        self.request_method = rng.choice([b"GET", b"GET", b"GET", b"POST", b"HEAD"])
        self.request_version = b"1.1" if rng.random() < 0.9 else b"1.0"
        self.version, self.status, self.reason = b"HTTP/1.1", b"200", b" OK"
        self.lines = [b"X-Tag: " + tag]
        self.close = False      # the backend closes behind its answer
        if rng.random() < 0.5:
            self.lines.append(rng.choice([b"Content-Type: text/plain", b"Set-Cookie: a=b", b"ETag: \"e\""]))
        body = rng.choice([b"", b"x", b"answer " + tag, b"HTTP/1.1 200 OK\r\n\r\n"])
        kind = rng.randrange(4)
        if kind == 0:
            self.data, self.close = body, True
        elif kind == 1:
            self.set_chunks(*([body] if body else []))
        else:
            self.set_length(body)
        if self.request_method == b"HEAD":
            self.no_body()

    def no_body(self):
        self.length_text = b"%d" % len(self.data) if self.framing == "length" else None
        self.data, self.chunks = b"", []
        self.last_chunk = self.chunked_end = b""

    def chunked(self, rng):
        self.request_method = b"GET"
        self.last_chunk, self.chunked_end, self.close = b"0\r\n", b"\r\n", False
        self.set_chunks(*rng.choice([[b"x"], [b"answer ", self.tag], [b"0123456789abcdef0"]]))

    def bytes(self):
        return self.write(self.before + self.version + b" " + self.status + self.reason + self.eol)


ALPHABET = [b"\r\n", b"\n", b"\r", b"\0", b"\t", b" ", b":", b";", b",", b"\x0b", b"\x7f", b"\x80", b"\xff", b"/",
            b"0", b"9", b"A", b"\"", b"\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"]


def mutate(rng, data):
    """A few edits of the bytes themselves."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        if not data:
            break
        i = rng.randrange(len(data))
        what = rng.randrange(6)
        if what == 0:
            data = data[:i] + rng.choice(ALPHABET) + data[i:]
        elif what == 1:
            data = data[:i] + data[i + rng.choice([1, 1, 2, 5]):]
        elif what == 2:
            data = data[:i] + bytes([rng.randrange(256)]) + data[i + 1:]
        elif what == 3:
            j = min(len(data), i + rng.randrange(1, 30))
            data = data[:j] + data[i:]
        elif what == 4:
            data = data[:i] + bytes([data[i] ^ (1 << rng.randrange(8))]) + data[i + 1:]
        else:
            data = data[:i] + rng.choice(ALPHABET) + data[i + 1:]
    return data


class Case:
    """One message for every proxy. classes: the quirks in it."""

    def __init__(self, index, classes, data):
        self.index, self.classes, self.data = index, classes, data
        self.method, self.version, self.close = b"GET", b"1.1", False  # for responses: the question


def _bend(rng, kind, message, pool):
    """None, one or two quirks."""
    n = rng.choices([0, 1, 2], [5, 75, 20])[0]
    chosen = rng.sample(pool, n)
    for name in chosen:
        QUIRKS[kind][name](rng, message)
    return chosen


def request_case(seed, index):
    rng = random.Random(f"{seed}/request/{index}")
    pool = sorted(QUIRKS["request"])
    first = Request(rng, b"r%d" % index)
    # Each quirk in turn, so that a short run meets all of them.
    classes = [pool[index % len(pool)]] if rng.random() < 0.6 else []
    for name in classes:
        QUIRKS["request"][name](rng, first)
    if not classes:
        classes = _bend(rng, "request", first, pool)
    data = first.bytes()
    if rng.random() < 0.08:
        classes.append("mutated bytes")
        data = mutate(rng, data)
    if rng.random() < 0.35:
        good = Request(rng, b"r%d-next" % index).bytes()
        if rng.random() < 0.3:
            classes.append("good one in front")
            data = good + data
        else:
            data += good
    return Case(index, classes or ["plain"], data)


def response_case(seed, index):
    rng = random.Random(f"{seed}/response/{index}")
    pool = sorted(QUIRKS["response"])
    m = Response(rng, b"r%d" % index)
    classes = [pool[index % len(pool)]] if rng.random() < 0.6 else []
    for name in classes:
        QUIRKS["response"][name](rng, m)
    if not classes:
        classes = _bend(rng, "response", m, pool)
    data = m.bytes()
    if rng.random() < 0.1:
        classes.append("mutated bytes")
        data = mutate(rng, data)
    case = Case(index, classes or ["plain"], data)
    case.method, case.version, case.close = m.request_method, m.request_version, m.close
    return case
