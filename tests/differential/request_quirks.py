# SPDX-License-Identifier: Apache-2.0
"""What clients get wrong, or do to find out who gets it wrong. The class names the part and the
section of RFC 9112 (or of RFC 9110, named so) that speaks of it."""
from grammar import lines, one_of, quirk

# Start line (2.2, 3)
one_of("2.2 line in front", "before", [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\r\n" * 5, b"\t\r\n", b"\0"])
one_of("2.2 end of the request line", "eol", [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\0\r\n", b"\r\n\t"])
one_of("3 space behind the method", "first_space", [b"  ", b"\t", b"\x0b", b"", b"\r", b" \t", b"\xa0"])
one_of("3 space behind the target", "second_space", [b"  ", b"\t", b"\x0c", b"", b" x ", b"\r ", b"\0 "])
one_of("3.1 any token as method", "method", [b"PROPFIND", b"M-SEARCH", b"get", b"X!#$%&'*+.^_`|~", b"Q",
                                             b"A" * 32, b"TRACE"])
one_of("3.1 malformed method", "method", [b"", b"GE(T", b"G\0T", b"GET/", b"\"GET\"", b"G\xc9T", b"GET:", b"[GET]"])
one_of("2.3 later minor version", "version", [b"HTTP/1.2", b"HTTP/1.9"])
one_of("2.3 other version", "version", [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.9", b"HTTP/0.0"])
one_of("2.3 malformed version", "version",
       [b"http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/11", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/1.10", b"HTTP /1.1",
        b"HTTP/1,1",
        b"HTTPS/1.1", b"HTTP/+1.1", b"HTTP/1.1x", b"HTTP/1.1\0", b"HTTP\\1.1", b"HTTP/\xb1.1", b"ICAP/1.0", b""])


@quirk("2.3 HTTP/1.0")
def _http_10(rng, m):
    m.version = b"HTTP/1.0"
    if rng.random() < 0.3:
        m.host = None
    if rng.random() < 0.5:
        m.insert(rng, rng.choice([b"Connection: keep-alive", b"Connection: Keep-Alive, close", b"Keep-Alive: 5"]))


@quirk("2.3 HTTP/0.9")
def _http_09(rng, m):
    m.method, m.version, m.second_space = b"GET", b"", b""
    if rng.random() < 0.5:
        m.lines, m.host, m.framing, m.data = [], None, "none", b""


# Targets (3.2)
@quirk("3.2.1 origin-form")
def _origin(rng, m):
    m.target += rng.choice([b"?", b"?a=b&c", b"//x", b"/./y", b"/../z", b"/%2e%2E/z", b"/%2F", b";p=1",
                            b"/~!$&'()*+,=:@",
                            b"?/?", b"/..", b"/."])


@quirk("3.2 octets in a target")
def _octets(rng, m):
    m.target += rng.choice([b"\"", b"<>", b"\\", b"^", b"`", b"{|}", b"%", b"%zz", b"%0", b"\xc3\xa4", b"\xff", b"[",
                            b"?[]"])


@quirk("3.2 malformed target")
def _bad_target(rng, m):
    m.target = rng.choice([b"%s", b"%s x", b"/%s#f", b"/%s\0", b"/%s\x7f", b"/%s\x01", b"?%s", b"*%s", b"//\r%s",
                           b"/%s\tx",
                           b":80/%s", b"mailto:%s", b""]).replace(b"%s", m.tag)


@quirk("3.2.2 absolute-form")
def _absolute(rng, m):
    m.target = rng.choice([b"http://web/%s", b"HTTP://web/%s", b"http://other/%s", b"http://web:80/%s?q",
                           b"https://web/%s",
                           b"http://web?%s", b"http://web", b"http://[::1]/%s", b"http://w%65b/%s"]).replace(b"%s",
                                                                                                             m.tag)
    if rng.random() < 0.3:
        m.host = rng.choice([b"Host: else", b"Host:", None])


@quirk("3.2.2 malformed absolute-form")
def _bad_absolute(rng, m):
    m.target = rng.choice([b"http:///%s", b"http:/%s", b"http:%s", b"http://u:p@web/%s", b"http://web:x/%s",
                           b"http://we b/%s",
                           b"http://web\\@else/%s", b"ftp://web/%s", b"http://web:99999/%s", b"http://:80/%s",
                           b"http://[::1/%s",
                           b"http://web#/%s", b"ws://web/%s", b"http://web,else/%s", b"://web/%s"]).replace(b"%s",
                                                                                                            m.tag)


@quirk("3.2.3 authority-form")
def _authority(rng, m):
    m.method, m.framing, m.data = b"CONNECT", "none", b""
    m.target = rng.choice([b"web:80", b"web", b"web:", b"/" + m.tag, b"http://web/", b"*", b"u@web:80", b"[::1]:80",
                           b"web:x"])
    if rng.random() < 0.3:
        m.give_body(rng)


@quirk("3.2.4 asterisk-form")
def _asterisk(rng, m):
    m.target = b"*"
    if rng.random() < 0.7:
        m.method, m.framing, m.data = b"OPTIONS", "none", b""


# Host (3.2)
one_of("3.2 Host, valid", "host",
       [b"Host:", b"host: WEB", b"Host: web:80", b"Host: web:", b"HOST:\tweb ", b"Host: [::1]:80",
                                   b"Host: 10.0.0.1", b"Host: w%65b", b"Host: a_b-c.d.", b"Host: !$&'()*+,;=~"])
one_of("3.2 Host, malformed", "host",
       [b"Host: web/x", b"Host: a b", b"Host: u@web", b"Host: web:80:90", b"Host: web:x", b"Host: [::1",
        b"Host: ::1", b"Host: we\\b",
        b"Host: web#", b"Host: web?", b"Host: http://web", b"Host: web\0", b"Host: :80", b"Host: we%zz",
        b"Host: w\xffb",
        b"Host: [::g]", b"Host: web:+80", b"Host: [v1.a]", b"Host: web:65536", b"Host: a<b", b"Host: \"web\""])
one_of("3.2 no Host", "host", [None])
lines("3.2 several Host lines", [b"Host: web", b"Host: other", b"host: web", b"Host:", b"HOST: Web"])
lines("3.2 Host behind a trick",
      [b"Host : other", b" Host: other", b"Host\t: other", b"X:\r\n\tHost: other", b"X-Host: other",
                                  b"Host\0: other", b"X: y\rHost: other"])

# Fields (5)
lines("5.1 valid fields",
      [b"X-A:b", b"X-A:\t b \t", b"X-A:", b"X-A: \t ", b"!#$%&'*+-.^_`|~0: x", b"X_Y: 1", b"X-A: \"q,\\\"\"",
                           b"X-A: ,", b"x" * 200 + b": 1", b"X-A: " + b"v" * 3000, (b"X-A: 1", b"x-a: 2"), b"0: 0"])
lines("5.1 space before the colon", [b"X-A : b", b"X-A\t: b", b"Content-Length : 3", b"Transfer-Encoding : chunked",
                                     b"X-A\x0b: b"])
lines("5.1 malformed name",
      [b": b", b"X A: b", b"X(A): b", b"X\0A: b", b"X\"A: b", b"X/A: b", b"X\xc3\xa4: b", b"X@A: b", b"X\x7f: b",
                             b"{X}: b", b"X;A: b", b"[X]: b", b"X,A: b", b"Nonsense", b"=: 1", b"X-A b"])
lines("9110 5.5 octets in a value",
      [b"X-A: b\xff\x80c", b"X-A: \xc3\xa4", b"X-A: a\tb", b"X-A: ~!@#$%^&*(){}[]|\\:;\"'<>,.?/"])
lines("9110 5.5 malformed value",
      [b"X-A: b\0c", b"X-A: \x01", b"X-A: b\x7f", b"X-A: \x0b", b"X-A: b\x1bc", b"X-A: \0", b"X-A: b\x0c"])
lines("5.2 folded line", [b"X-A: b\r\n c", b"X-A: b\r\n\tc", b"X-A:\r\n b", b"X-A: b\r\n ", b"X-A: b\r\n \r\n c",
                          b"Transfer-Encoding:\r\n chunked", b"Content-Length:\r\n 5", b"X: y\r\n Content-Length: 5"])
lines("2.2 end of a field line",
      [[b"X-A: b", b"\n"], [b"X-A: b", b"\r"], [b"X-A: b", b"\r\r\n"], [b"X-A: b", b"\n\r"],
                                  [b"X-A: b", b"\0\r\n"], b"X-A: b\rX-C: d", b"X-A: b\r\n\rX-C: d", b"\r",
                                  [b"X-A: b", b"\n\n"]])
one_of("2.2 end of the head", "head_end", [b"\n", b"\r", b"\r\r\n", b" \r\n\r\n", b"\r\n ", b"\n\r\n"])

# Content-Length (6.2, 6.3)
@quirk("6.2 one length, valid")
def _length(rng, m):
    m.set_length(b"hello")
    m.length_text = rng.choice([b"5", b"005", b"5 ", b"\t5", b"00000000000000000000000000000005"])


@quirk("6.2 malformed length")
def _bad_length(rng, m):
    m.set_length(b"hello")
    m.length_text = rng.choice([b"", b"-5", b"+5", b"0x5", b"5x", b"5 5", b"5.0", b"5e0", b"five", b"\x0b5", b"5\0",
                                b"\"5\"", b"5;", b"05h",
                                b"\xb2", b"5,", b",5", b"0 5", b"5\x0b", b"--5", b"5_0"])


@quirk("6.2 great length")
def _great(rng, m):
    m.set_length(b"hello")
    m.length_text = rng.choice([b"9223372036854775807", b"9223372036854775808", b"18446744073709551615",
                                b"18446744073709551621",
                                b"4294967301", b"99999999999999999999999999",
                                b"340282366920938463463374607431768211461"])


@quirk("6.3 equal lengths")
def _equal(rng, m):
    m.set_length(b"hello")
    if rng.random() < 0.5:
        m.length_text = rng.choice([b"5, 5", b"5,5", b"5, 05"])
    else:
        m.insert(rng, rng.choice([b"Content-Length: 5", b"content-length: 05"]))


@quirk("6.3 different lengths")
def _different(rng, m):
    m.set_length(b"hello")
    if rng.random() < 0.4:
        m.length_text = rng.choice([b"5, 6", b"5,0", b"0, 5", b"5, -5", b"5 , x"])
    else:
        m.insert(rng, rng.choice([b"Content-Length: 0", b"Content-Length: 6", b"Content-Length: 5, 0",
                                  b"Content-Length:"]))


@quirk("6.3 both lengths")
def _both(rng, m):
    m.chunked(rng)
    m.insert(rng, rng.choice([b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: %d" % len(m._body()),
                              b"content-length: 6", b"Content-Length: 5, 5"]))


@quirk("6.3 body where none is usual")
def _odd_body(rng, m):
    m.method = rng.choice([b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"])
    if rng.random() < 0.5:
        m.set_length(b"hello")
    else:
        m.set_chunks(b"hello")


# Transfer-Encoding (6.1, 7)
@quirk("6.1 chunked, valid")
def _coding(rng, m):
    m.chunked(rng)
    m.coding_line = rng.choice([b"transfer-encoding:chunked", b"Transfer-Encoding: Chunked",
                                b"TRANSFER-ENCODING:\tCHUNKED\t"])


@quirk("6.1 codings not chunked at last")
def _coding_not_last(rng, m):
    m.chunked(rng)
    m.coding_line = b"Transfer-Encoding: " + rng.choice([b"gzip", b"identity", b"chunked, gzip",
                                                         b"chunked, identity", b"xchunked", b"chunke",
                                                         b"chunkedx", b"chunked, chunked", b"", b"null",
                                                         b"chunked-false"])


@quirk("6.1 codings before chunked")
def _coding_before(rng, m):
    m.chunked(rng)
    m.coding_line = rng.choice([b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity, chunked",
                                b"Transfer-Encoding: , chunked",
                                b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
                                b"Transfer-Encoding: chunked,"])


@quirk("6.1 disguised chunked")
def _disguised(rng, m):
    m.chunked(rng)
    m.coding_line = rng.choice([
        b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked\x0c", b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: chunked ;", b"Transfer-Encoding\t: chunked", b"Transfer_Encoding: chunked",
        b"Transfer-Encoding: chun\0ked",
        b"Transfer-Encoding: chunked\0", b"Transfer-Encoding:\r\n chunked", b"X: y\rTransfer-Encoding: chunked",
        b"Transfer-Encoding:\xa0chunked",
        b" Transfer-Encoding: chunked", b"Transfer-Encoding: (c) chunked", b"Transfer-Encoding; chunked",
        b"Transfer-Encoding chunked",
        b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: c\xe7hunked"])
    if rng.random() < 0.3:
        m.insert(rng, b"Content-Length: %d" % len(m._body()))


@quirk("6.1 several codings")
def _several(rng, m):
    m.chunked(rng)
    m.insert(rng, rng.choice([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: x",
                              b"Transfer-Encoding:"]))


@quirk("6.1 chunked in HTTP/1.0")
def _coding_10(rng, m):
    m.chunked(rng)
    m.version = b"HTTP/1.0"
    if rng.random() < 0.5:
        m.insert(rng, b"Connection: keep-alive")


# Chunks (7.1)
def _first_size(m, text):
    size, _, rest = m.chunks[0].partition(b"\r\n")
    m.chunks[0] = text.replace(b"%n", size) + b"\r\n" + rest


@quirk("7.1 size, valid")
def _size(rng, m):
    m.chunked(rng)
    _first_size(m, rng.choice([b"0%n", b"00000000%n", b"0000000000000000000000%n"]))
    m.last_chunk = rng.choice([b"0\r\n", b"00\r\n", b"000000000000000000000\r\n"])


@quirk("7.1 malformed size")
def _bad_size(rng, m):
    m.chunked(rng)
    _first_size(m, rng.choice([b"0x%n", b"-%n", b"+%n", b" %n", b"\t%n", b"%n ", b"%n\t", b"", b"%nh", b"%n,",
                               b"%n\0", b"g", b"%n_0", b"\"%n\"",
                               b"%n.0", b"\x0b%n", b"%n\x0b", b"%n 1", b"\xb2"]))


@quirk("7.1 great size")
def _great_size(rng, m):
    m.chunked(rng)
    _first_size(m, rng.choice([b"7fffffffffffffff", b"8000000000000000", b"ffffffffffffffff", b"10000000000000001",
                               b"1000000000000000%n",
                               b"100000000%n", b"fffffffffffffffffffffffffffff"]))


@quirk("7.1 wrong size")
def _wrong_size(rng, m):
    m.chunked(rng)
    size = int(m.chunks[0].split(b"\r\n")[0], 16)
    _first_size(m, b"%x" % max(1, size + rng.choice([-1, 1, 2, 7, 40])))


@quirk("7.1 end of a size line")
def _size_end(rng, m):
    m.chunked(rng)
    end = rng.choice([b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b";\n", b";x\n", b";x\r", b"; \n"])
    size, _, rest = m.chunks[0].partition(b"\r\n")
    m.chunks[0] = size + end + rest


@quirk("7.1 end of a chunk")
def _chunk_end(rng, m):
    m.chunked(rng)
    m.chunks[-1] = m.chunks[-1][:-2] + rng.choice([b"", b"\n", b"\r", b"\r\r\n", b" \r\n", b"xx", b"\n\r",
                                                   b"\r\n\r\n", b"\n\n"])


@quirk("7.1.1 extension, valid")
def _extension(rng, m):
    m.chunked(rng)
    _first_size(m, b"%n" + rng.choice([b";a", b";a=b", b"; a = \"q;\\\"\"", b" ;a", b"\t;\ta=1;b",
                                       b";" + b"a" * 500]))
    if rng.random() < 0.4:
        m.last_chunk = b"0;last\r\n"


@quirk("7.1.1 malformed extension")
def _bad_extension(rng, m):
    m.chunked(rng)
    _first_size(m, b"%n" + rng.choice([b";", b";;", b";=", b";a=", b";a b", b";\"a\"", b";a=\"", b";\0", b";a\rb",
                                       b";\x01", b" a", b";\xff"]))


@quirk("7.1 last chunk")
def _last(rng, m):
    m.chunked(rng)
    m.last_chunk = rng.choice([b"0\n", b"0\r", b"", b"-0\r\n", b"0x0\r\n", b"0 \r\n", b" 0\r\n", b"0\r\r\n", b"\r\n",
                               b"0;\n", b"00\n"])


@quirk("7.1 end of the chunks")
def _chunked_end(rng, m):
    m.chunked(rng)
    m.chunked_end = rng.choice([b"", b"\n", b"\r", b"\r\r\n", b"x\r\n", b" \r\n", b"\0\r\n"])


@quirk("7.1.2 trailers, valid")
def _trailers(rng, m):
    m.chunked(rng)
    m.trailers = rng.choice([b"X-T: 1\r\n", b"X-T:1\r\nX-U: \t2 \r\n", b"X-T:\r\n", b"Checksum: \xff\r\n"])
    if rng.random() < 0.5:
        m.insert(rng, b"Trailer: X-T")


@quirk("7.1.2 trailers that are not to be merged")
def _forbidden(rng, m):
    m.chunked(rng)
    m.trailers = rng.choice([b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: other\r\n",
                             b"Connection: close\r\n",
                             b"Authorization: x\r\n", b"Upgrade: h2c\r\n", b"Trailer: x\r\n", b"Set-Cookie: a\r\n",
                             b"TE: x\r\n"])


@quirk("7.1.2 malformed trailers")
def _bad_trailers(rng, m):
    m.chunked(rng)
    m.trailers = rng.choice([b"X-T\r\n", b"X-T : 1\r\n", b"X-T: 1\n", b"X-T: 1\r\n 2\r\n", b": 1\r\n",
                             b"X-T: \0\r\n", b"X T: 1\r\n", b" X-T: 1\r\n",
                             b"X-T: 1\rX-U: 2\r\n", b"GET / HTTP/1.1\r\n", b"X-T: 1\n\r\n"])


# Connection and what hangs on it (9110 7.6.1, 7.8, 10.1)
lines("9110 7.6.1 Connection",
      [b"Connection: keep-alive", b"Connection: close", b"Connection: Close, X-Hop", b"Connection: ,,close ,",
       b"Connection:",
                                b"connection: closed", (b"Connection: x-hop", b"X-Hop: 1"),
                                (b"Connection: foo", b"Connection: close"),
                                b"Connection: TE\r\nTE: trailers", b"TE: gzip, trailers;q=0.5",
                                b"Keep-Alive: timeout=5", b"Proxy-Connection: close"])
lines("9110 7.6.1 Connection names what all need", [
    b"Connection: Host", b"Connection: Content-Length", b"Connection: Transfer-Encoding",
    b"Connection: close, Host, Content-Length",
    b"Connection: X-Tag, Cookie", (b"Connection: Authorization", b"Authorization: x"),
    b"Connection: Content-Type, Content-Length"])
lines("9110 7.6.1 malformed Connection",
      [b"Connection: clo se", b"Connection: \"close\"", b"Connection: x/y", b"Connection: close;x",
       b"Connection: (a)",
                                          b"Connection: \xff"])
lines("9110 7.8 Upgrade",
      [(b"Connection: Upgrade", b"Upgrade: websocket"), b"Upgrade: websocket", b"Connection: Upgrade",
                           (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"),
                           (b"Connection: upgrade", b"Upgrade: foo/2, bar"),
                           (b"Connection: upgrade", b"Upgrade: h2c, websocket")])
lines("9110 10.1.1 Expect",
      [b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: 200-ok", b"Expect:", b"expect: 100-continue, x",
                             (b"Expect: 100-continue", b"Expect: 100-continue"), b"Expect: 100-continue\0"])

# More than one
one_of("2.2 bytes behind", "behind",
       [b"\r\n", b"\n", b"\r\n\r\n", b"x", b"\0", b"GET", b" ", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])


@quirk("3 request hidden in a body")
def _hidden(rng, m):
    inner = b"GET /hidden-" + m.tag + b" HTTP/1.1\r\nHost: web\r\n\r\n"
    m.method = rng.choice([b"GET", b"POST", b"OPTIONS"])
    if rng.random() < 0.5:
        m.set_length(inner)
        if rng.random() < 0.7:
            m.length_text = rng.choice([b"0", b"00", b"5", b"%d" % (len(inner) + 1), b"0x5"])
    else:
        m.set_chunks(inner)
        if rng.random() < 0.7:
            m.insert(rng, b"Content-Length: %d" % rng.choice([0, 5, len(inner)]))


@quirk("8 cut short")
def _cut(rng, m):
    if m.framing == "none":
        m.method = b"POST"
        m.give_body(rng)
    if m.framing == "length":
        m.length_text = b"%d" % (len(m.data) + rng.choice([1, 100]))
    else:
        m.last_chunk = m.chunked_end = b""
