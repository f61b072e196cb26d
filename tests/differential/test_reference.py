# SPDX-License-Identifier: Apache-2.0
"""The reference reading itself: what it accepts, and that it refuses what the RFCs forbid."""
import pytest

import grammar
from reference import read_requests, read_responses

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("data, count, how", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, "end"),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", 2, "end"),
    (HEAD + b"Content-Length: 2\r\n\r\nab", 1, "end"),
    (HEAD + b"Content-Length: 3\r\n\r\nab", 0, "incomplete"),
    (HEAD + b"Content-Length: 1\r\n\r\nab", 1, "incomplete"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=\"y\"\r\na\r\n0\r\nT: u\r\n\r\n", 1, "end"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 0, "invalid"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 0, "invalid"),
    (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 0, "invalid"),
    (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 0, "invalid"),
    (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0, "invalid"),
    (HEAD + b"Connection: close\r\n\r\nGET / HTTP/1.1\r\n", 1, "ignored"),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.0\r\n\r\n", 1, "end"),
    (b"GET / HTTP/1.1\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\nHost: a\n\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, "invalid"),
    (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 0, "invalid"),
    (b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 0, "invalid"),
    (b"GET / HTTP/1.1\r\nHos", 0, "incomplete"),
])
def test_requests(data, count, how):
    reading = read_requests(data)
    assert (len(reading.messages), reading.how) == (count, how), reading


@pytest.mark.parametrize("data, method, statuses, how", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"GET", [200], "end"),
    (b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\n\r\na", b"GET", [100, 200], "end"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", [200], "end"),
    (b"HTTP/1.1 204 \r\n\r\n", b"GET", [204], "end"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", b"GET", [], "incomplete"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", b"GET", [200], "incomplete"),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nab", b"GET", [200], "ignored"),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", b"GET", [], "invalid"),
    (b"HTTP/1.1 100 \r\nContent-Length: 1\r\n\r\na", b"GET", [], "invalid"),
])
def test_responses(data, method, statuses, how):
    reading = read_responses(data, [method], True)
    assert ([m.status for m in reading.messages], reading.how) == (statuses, how), reading


@pytest.mark.parametrize("make", [grammar.request_case, grammar.response_case])
def test_a_seed_and_an_index_name_a_message(make):
    assert [make("s", i).data for i in range(200)] == [make("s", i).data for i in range(200)]
    assert make("s", 1).data != make("t", 1).data


@pytest.mark.parametrize("kind, make", [("request", grammar.request_case), ("response", grammar.response_case)])
def test_a_short_run_meets_every_quirk(kind, make):
    met = {c for i in range(600) for c in make("sluice", i).classes}
    assert set(grammar.QUIRKS[kind]) <= met


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_coding_that_may_be_refused_is_noted_without_a_body_too(method):
    reading = read_responses(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", [method], True)
    assert reading.messages[0].features == {"another transfer coding"}
