# SPDX-License-Identifier: Apache-2.0
"""A strict reading of HTTP/1.1 (RFC 9112, RFC 9110): what bytes say, or where they stop to say it.

It shares nothing with the agent's parser. What the RFCs forbid is invalid here, also where they let
a recipient repair it. What they allow and a proxy may still decline is read, and noted in the
message's features."""
import ipaddress
import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
VISIBLE = re.compile(rb"[\x21-\x7e\x80-\xff]+")
URI_REST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
REG_NAME = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://")
EXTENSION = re.compile(rb"""(?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+
    (?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*"))?)*""",
                       re.X)
LENGTH_MAX = (1 << 63) - 1


class Invalid(Exception):
    """section: of RFC 9112, unless it says otherwise."""

    def __init__(self, section, reason):
        super().__init__(f"{section}: {reason}")


class Incomplete(Exception):
    pass


class Message:
    def __init__(self):
        self.fields = []
        self.features = set()
        self.framing = "none"  # none, length, chunked, eof
        self.length = 0
        self.body = b""
        self.trailers = []
        self.keep_alive = True
        self.end = 0            # where it ends in what was read

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name]

    def list(self, name):
        """Elements of a list field, in lower case; empty ones too."""
        return [e.strip(b" \t").lower() for v in self.all(name) for e in v.split(b",")]

    def options(self):
        return {e for e in self.list(b"connection") if e}


class Request(Message):
    method = target = path = authority = b""
    minor = 1

    def __repr__(self):
        return f"<{self.method!r} {self.target!r} {self.fields} {self.framing} {self.body[:60]!r}>"


class Response(Message):
    status, minor, reason = 0, 1, b""

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.framing} {self.body[:60]!r}>"


class Reading:
    """Whole messages in order, then how it ends: end, incomplete, invalid, or ignored (bytes behind a
    message that ends the connection). partial: a last message whose head alone is valid."""

    def __init__(self):
        self.messages, self.partial, self.how, self.why = [], None, "end", ""

    def __repr__(self):
        return f"{len(self.messages)} messages, then {self.how} {self.why}"


class _Reader:
    def __init__(self, data, pos=0):
        self.data, self.pos = data, pos

    def line(self):
        end = self.data.find(b"\n", self.pos)
        line = self.data[self.pos:end if end >= 0 else len(self.data)]
        if end < 0:
            if b"\r" in line[:-1]:
                raise Invalid("2.2", "bare CR")
            raise Incomplete()
        if not line.endswith(b"\r"):
            raise Invalid("2.2", "bare LF")
        if b"\r" in line[:-1]:
            raise Invalid("2.2", "bare CR")
        self.pos = end + 1
        return line[:-1]

    def take(self, n):
        part = self.data[self.pos:self.pos + n]
        self.pos += len(part)
        return part

    def fields(self):
        fields = []
        while True:
            line = self.line()
            if not line:
                return fields
            fields.append(_field(line))


def _field(line):
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        raise Invalid("5.2", "folded line")
    if not colon:
        raise Invalid("5", "no colon")
    if name.endswith((b" ", b"\t")):
        raise Invalid("5.1", "white space before the colon")
    if not TOKEN.fullmatch(name):
        raise Invalid("5.1", "name is no token")
    value = value.strip(b" \t")
    if not VALUE.fullmatch(value):
        raise Invalid("9110 5.5", "control character in a value")
    return name, value


def check_authority(text, features, port_needed=False):
    if b"@" in text:
        raise Invalid("9110 4.2.4", "user information")
    match = re.fullmatch(rb"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", text)
    if not match:
        raise Invalid("3.2", "no host")
    host, port = match.groups()
    if host.startswith(b"["):
        if re.fullmatch(rb"\[[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\]", host):
            features.add("IPvFuture")
        else:
            try:
                if b"%" in host:
                    raise ValueError
                ipaddress.IPv6Address(host[1:-1].decode("latin-1"))
            except ValueError:
                raise Invalid("3.2", "no IPv6 address") from None
    elif not REG_NAME.fullmatch(host):
        raise Invalid("3.2", "no host name")
    if port_needed and not port:
        raise Invalid("3.2.3", "no port")
    if port and int(port) > 65535:
        features.add("port beyond 65535")
    return host


def _read_target(r):
    """The four forms of section 3.2; path: what goes on in origin-form."""
    target = r.target
    if r.method == b"CONNECT":
        if not check_authority(target, r.features, port_needed=True):
            raise Invalid("3.2.3", "no host")
        r.path = r.authority = target
        return
    if b"#" in target:
        raise Invalid("3.2", "fragment")
    if target == b"*":
        if r.method != b"OPTIONS":
            raise Invalid("3.2.4", "asterisk-form")
        r.path = target
        return
    if target.startswith(b"/"):
        r.path = rest = target
    else:
        scheme = SCHEME.match(target)
        if not scheme:
            raise Invalid("3.2", "no form of a target")
        if scheme[1].lower() not in (b"http", b"https"):
            r.features.add("another scheme")
        rest = target[scheme.end():]
        end = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
        r.authority, rest = rest[:end], rest[end:]
        if not check_authority(r.authority, r.features):
            raise Invalid("9110 4.2.1", "no host in a target")
        r.features.add("absolute-form")
        r.path = rest if rest.startswith(b"/") else b"/" + rest
        if not rest and r.method == b"OPTIONS":
            r.path = b"*"
    if not URI_REST.fullmatch(rest):
        r.features.add("octets that no URI has")


def _version(text):
    if not re.fullmatch(rb"HTTP/[0-9]\.[0-9]", text):
        raise Invalid("2.3", "no version")
    if text[5:6] != b"1":
        raise Invalid("2.3", "another major version")
    return int(text[7:8])


def _content_length(m):
    values = m.list(b"content-length")
    if any(not re.fullmatch(rb"[0-9]+", v) for v in values):
        raise Invalid("6.3", "Content-Length is no number")
    if len({int(v) for v in values}) > 1:
        raise Invalid("6.3", "different Content-Length values")
    if len(values) > 1:
        m.features.add("Content-Length repeated")
    if int(values[0]) > LENGTH_MAX:
        m.features.add("length beyond 63 bits")
    return int(values[0])


def _transfer_encoding(m):
    """Whether chunked is the last coding."""
    codings = m.list(b"transfer-encoding")
    if b"" in codings:
        m.features.add("empty element in Transfer-Encoding")
        codings = [c for c in codings if c]
    if not codings:
        raise Invalid("6.1", "empty Transfer-Encoding")
    if m.minor == 0:
        raise Invalid("6.1", "Transfer-Encoding in HTTP/1.0")
    for coding in codings:
        if not re.fullmatch(TOKEN.pattern + rb"(?:[ \t]*;.*)?", coding):
            raise Invalid("6.1", "malformed Transfer-Encoding")
        if coding != b"chunked" and re.match(rb"chunked[ \t]*;", coding):
            raise Invalid("7.1", "chunked has no parameters")
    if b"chunked" in codings[:-1]:
        raise Invalid("6.1", "chunked is not the last coding, or not once")
    if len(codings) > 1:
        m.features.add("another transfer coding")
    return codings[-1] == b"chunked"


def _lengths(m):
    has_te, has_cl = bool(m.all(b"transfer-encoding")), bool(m.all(b"content-length"))
    if has_te and has_cl:
        raise Invalid("6.3", "both lengths")
    chunked = has_te and _transfer_encoding(m)
    length = _content_length(m) if has_cl else None
    return has_te, chunked, length


def _request_head(reader):
    r = Request()
    empty = 0
    while reader.data[reader.pos:reader.pos + 1] in (b"\r", b"\n") and not reader.line():
        empty += 1
    if empty > 1:
        r.features.add("several empty lines")
    parts = reader.line().split(b" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not VISIBLE.fullmatch(parts[1]):
        raise Invalid("3", "malformed request line")
    r.method, r.target = parts[:2]
    r.minor = _version(parts[2])
    if len(r.method) > 32:
        r.features.add("method beyond 32 bytes")
    r.fields = reader.fields()
    hosts = r.all(b"host")
    if len(hosts) > 1 or (not hosts and r.minor > 0):
        raise Invalid("3.2", "not one Host")
    if hosts:
        if not check_authority(hosts[0], r.features) and hosts[0]:
            raise Invalid("3.2", "a port without a host")
        r.authority = hosts[0]
    _read_target(r)
    has_te, chunked, length = _lengths(r)
    if has_te and not chunked:
        raise Invalid("6.3", "chunked is not the last coding")
    if chunked:
        r.framing = "chunked"
    elif length is not None:
        r.framing, r.length = "length", length
    if r.method == b"CONNECT" and (chunked or length):
        r.features.add("CONNECT with content")
    _persistence(r)
    return r


def _persistence(m):
    options = m.options()
    if len(options - {b"close", b"keep-alive", b"upgrade"}) > 32:
        m.features.add("Connection names many")
    m.keep_alive = b"close" not in options and (m.minor > 0 or b"keep-alive" in options)


def _status_line(r, line):
    match = re.fullmatch(rb"(HTTP/[0-9]\.[0-9]) ([1-9][0-9]{2})( [\t\x20-\x7e\x80-\xff]*)?", line)
    if not match:
        raise Invalid("4", "malformed status line")
    r.minor, r.status = _version(match[1]), int(match[2])
    if match[3] is None:
        r.features.add("no space behind the status")
    if r.status > 599:
        raise Invalid("9110 15", "status out of range")
    r.reason = (match[3] or b"")[1:]


def _response_head(reader, method):
    r = Response()
    _status_line(r, reader.line())
    r.fields = reader.fields()
    has_te, chunked, length = _lengths(r)
    never = r.status < 200 or r.status == 204
    if never and (has_te or length is not None):
        if r.status < 200 and (has_te or length):
            raise Invalid("6.1", "interim response with a body")
        r.features.add("length in a response without content")
    if has_te and not chunked:
        r.features.add("another transfer coding")
    _persistence(r)
    if never or method == b"HEAD" or r.status == 304 or (method == b"CONNECT" and r.status < 300):
        r.length = length or 0
        return r
    if chunked:
        r.framing = "chunked"
    elif length is not None and not has_te:
        r.framing, r.length = "length", length
    else:
        r.framing = "eof"
        r.keep_alive = False
    return r


def _body(reader, m, eof):
    if m.framing == "length":
        m.body = reader.take(m.length)
        if len(m.body) < m.length:
            raise Incomplete()
    elif m.framing == "eof":
        m.body = reader.take(len(reader.data))
        if not eof:
            raise Incomplete()
    elif m.framing == "chunked":
        while _chunk(reader, m):
            pass
        m.trailers = reader.fields()


def _chunk(reader, m):
    match = re.fullmatch(rb"([0-9A-Fa-f]+)(.*)", reader.line(), re.S)
    if not match or (match[2] and not re.match(rb"[ \t]*;", match[2])):
        raise Invalid("7.1", "malformed chunk size")
    if not VALUE.fullmatch(match[2]):
        raise Invalid("7.1.1", "control character in a chunk extension")
    if match[2] and not EXTENSION.fullmatch(match[2]):
        m.features.add("malformed chunk extension")
    size = int(match[1], 16)
    if size > LENGTH_MAX:
        raise Invalid("7.1", "chunk size beyond 63 bits")
    if not size:
        return False
    data = reader.take(size)
    m.body += data
    if len(data) < size:
        raise Incomplete()
    end = reader.take(2)
    if end != b"\r\n"[:len(end)]:
        raise Invalid("7.1", "no CRLF behind a chunk")
    if len(end) < 2:
        raise Incomplete()
    return True


def _one(reading, reader, head, eof):
    """The next message. False: there is none."""
    reading.partial = None
    try:
        reading.partial = head(reader)
        _body(reader, reading.partial, eof)
    except Invalid as e:
        reading.how, reading.why = "invalid", str(e)
        return False
    except Incomplete:
        reading.how = "incomplete"
        return False
    reading.partial.end = reader.pos
    reading.messages.append(reading.partial)
    reading.partial = None
    return True


def read_requests(data):
    """What a client says, up to the request that ends its connection."""
    reading, reader = Reading(), _Reader(data)
    while reader.pos < len(data):
        if not _one(reading, reader, _request_head, True):
            return reading
        if not reading.messages[-1].keep_alive:
            reading.how = "ignored" if reader.pos < len(data) else "end"
            return reading
    return reading


def read_responses(data, methods, eof):
    """What a server says to requests of these methods; eof: it has closed."""
    reading, reader, final = Reading(), _Reader(data), 0
    while reader.pos < len(data):
        method = methods[final] if final < len(methods) else b"GET"
        if not _one(reading, reader, lambda rd, m=method: _response_head(rd, m), eof):
            return reading
        last = reading.messages[-1]
        final += last.status >= 200
        if last.status == 101 or (last.status >= 200 and not last.keep_alive):
            reading.how = "ignored" if reader.pos < len(data) else "end"
            return reading
    return reading
