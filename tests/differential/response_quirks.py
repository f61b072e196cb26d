# SPDX-License-Identifier: Apache-2.0
"""What servers get wrong. The class names the part and the section of RFC 9112 (or of RFC 9110,
named so) that speaks of it."""
import request_quirks as req
from grammar import QUIRKS, lines, one_of, quirk

R = "response"

one_of("4 version", "version",
       [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1", b"HTTP/1.10", b"HTTP/0.9", b"", b"ICY",
        b"HTTP /1.1"], R)
one_of("4 status, usual", "status", [b"201", b"206", b"301", b"400", b"404", b"500", b"503", b"599", b"299"], R)
one_of("4 malformed status", "status",
       [b"20", b"2000", b"2xx", b"-20", b"", b"099", b"600", b"999", b" 200", b"\t200", b"2 0", b"200.0", b"0200"], R)
one_of("4 reason", "reason", [b" ", b"", b" Any \t text", b" \xe4\xff", b" OK ", b"  OK"], R)
one_of("4 malformed reason", "reason", [b" O\0K", b" O\rK", b" \x7f", b"\tOK", b"-OK", b" \x1b[1m"], R)
one_of("2.2 end of the status line", "eol", [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n "], R)
one_of("2.2 bytes in front", "before", [b"\r\n", b"\n", b" ", b"\r\n\r\n", b"x", b"\0", b"\xef\xbb\xbf"], R)
one_of("2.2 end of the head", "head_end", [b"\n", b"\r", b"\r\r\n", b" \r\n\r\n", b"\r\n "], R)

for name in ("5.1 valid fields", "5.1 space before the colon", "5.1 malformed name", "9110 5.5 octets in a value",
             "9110 5.5 malformed value",
             "5.2 folded line", "2.2 end of a field line", "6.2 one length, valid", "6.2 malformed length",
             "6.2 great length",
             "6.3 equal lengths", "6.3 different lengths", "6.3 both lengths", "6.1 chunked, valid",
             "6.1 codings not chunked at last",
             "6.1 codings before chunked", "6.1 disguised chunked", "6.1 several codings", "7.1 size, valid",
             "7.1 malformed size",
             "7.1 great size", "7.1 wrong size", "7.1 end of a size line", "7.1 end of a chunk",
             "7.1.1 extension, valid",
             "7.1.1 malformed extension", "7.1 last chunk", "7.1 end of the chunks", "7.1.2 trailers, valid",
             "7.1.2 trailers that are not to be merged", "7.1.2 malformed trailers"):
    QUIRKS[R][name] = QUIRKS["request"][name]

lines("9110 7.6.1 Connection",
      [b"Connection: keep-alive", b"Connection: close", (b"Connection: x-hop", b"X-Hop: 1"), b"Connection: ,close,",
                                b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Connection:",
                                b"TE: trailers"], R)
lines("9110 7.6.1 Connection names what all need",
      [b"Connection: Content-Length", b"Connection: Transfer-Encoding", (b"Connection: Set-Cookie", b"Set-Cookie: x"),
                                                    b"Connection: X-Tag, Date"], R)
lines("9110 7.8 Upgrade", [(b"Connection: Upgrade", b"Upgrade: h2c"), b"Upgrade: websocket"], R)
one_of("9112 9.3 bytes behind", "behind",
       [b"\r\n", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", b"\0", b"0\r\n\r\n"], R)


@quirk("9112 6.1 chunked in HTTP/1.0", R)
def _coding_10(rng, m):
    m.chunked(rng)
    m.version = b"HTTP/1.0"


@quirk("9110 15.2 interim", R)
def _interim(rng, m):
    m.before = rng.choice([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
                           b"HTTP/1.1 102 \r\n\r\n" * 3,
                           b"HTTP/1.1 199 x\r\nX-A: 1\r\n\r\n", b"HTTP/1.0 100 Continue\r\n\r\n"])


@quirk("9110 15.2 malformed interim", R)
def _bad_interim(rng, m):
    m.before = rng.choice([b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello",
                           b"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                           b"HTTP/1.1 100 Continue\n\n",
                           b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                           b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 100 Continue\r\nX A: 1\r\n\r\n",
                           b"HTTP/1.1 102 \r\n\r\n" * 200])


@quirk("6.3 no body allowed", R)
def _never(rng, m):
    m.status = rng.choice([b"204", b"304", b"204"])
    what = rng.randrange(4)
    if what == 0:
        m.framing, m.data, m.close = "none", b"", False
    elif what == 1:
        m.set_length(b"hello")
    elif what == 2:
        m.set_chunks(b"hello")
    else:
        m.framing, m.data, m.length_text = "length", b"", b"5"


@quirk("6.3 body behind HEAD", R)
def _head(rng, m):
    m.request_method = b"HEAD"
    if rng.random() < 0.5:
        m.set_length(b"hello")
        m.length_text = None
    else:
        m.set_chunks(b"hello")
        m.last_chunk, m.chunked_end = b"0\r\n", b"\r\n"


@quirk("8 cut short", R)
def _cut(rng, m):
    m.close = True
    if m.framing == "length":
        m.length_text = b"%d" % (len(m.data) + rng.choice([1, 100]))
    elif m.framing == "chunked":
        m.last_chunk = m.chunked_end = b""
    else:
        m.head_end = b""


@quirk("6.3 until the close", R)
def _eof(rng, m):
    m.framing, m.data, m.close = "none", rng.choice([b"", b"hello", b"HTTP/1.1 500 x\r\n\r\n"]), True
    m.request_method = b"GET"
    if rng.random() < 0.4:
        m.insert(rng, rng.choice([b"Connection: keep-alive", b"Connection: close", b"Transfer-Encoding: gzip",
                                  b"Transfer-Encoding: identity"]))


assert req  # its quirks have to be there before they are taken over
