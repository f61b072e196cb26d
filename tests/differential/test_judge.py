# SPDX-License-Identifier: Apache-2.0
"""The judge itself: each rule is broken once, and seen."""
import pytest

from grammar import Case
from judge import judge_request, judge_response
from lanes import Outcome
from reference import read_requests

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nX-Backend: /\r\nContent-Length: 1\r\n\r\n/"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def outcome(sent, upstream, answer, **kw):
    out = Outcome(Case(0, ["x"], sent))
    out.upstream = [(upstream, kw.pop("closed", False))] if upstream else []
    out.requests = read_requests(upstream).messages
    out.answer = answer
    for name, value in kw.items():
        setattr(out, name, value)
    return out


@pytest.mark.parametrize("sent, upstream, answer",
                         [(GET, GET, OK), (GET + POST, GET + POST, OK + OK), (b"GET /\r\n\r\n", b"", REFUSED)])
def test_what_is_right_passes(sent, upstream, answer):
    assert judge_request(outcome(sent, upstream, answer)) == []


@pytest.mark.parametrize("rule, out", [
    ("a", outcome(POST, POST + GET, OK + OK)),
    ("b", outcome(GET, b"GET / HTTP/1.1\nHost: a\n\n", OK)),
    ("b", outcome(GET, b"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\n\r\n", OK)),
    ("c", outcome(b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", b"GET / HTTP/1.1\r\nHo", REFUSED, closed=True)),
    ("c", outcome(b"GET /\r\n\r\n", b"", b"")),
    ("c", outcome(b"GET /\r\n\r\n", b"", REFUSED.replace(b"close", b"x"))),
    ("d", outcome(GET, b"", REFUSED)),
    ("e", outcome(GET, GET, OK, hang=True)),
    ("f", outcome(POST, POST.replace(b"hi", b"ho"), OK)),
    ("f", outcome(GET, GET.replace(b"/ ", b"/b "), OK)),
    ("p", outcome(GET, GET, OK, probe="no answer")),
])
def test_each_broken_rule_is_seen(rule, out):
    assert any(c.startswith(f"({rule})") for c in judge_request(out))


def test_a_right_answer_passes():
    assert judge_response(outcome(OK, GET, OK)) == []


@pytest.mark.parametrize("rule, said, answer", [
    ("a", OK, OK + OK),
    ("c", b"HTTP/1.1 2x0 OK\r\n\r\n", OK),
    ("d", OK, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 8\r\n\r\nsluice: "),
    ("f", OK, OK.replace(b"200", b"201")),
    ("f", OK[:-1], OK),
    ("b", OK, OK.replace(b"OK\r\n", b"OK\r\nTE: x\r\n", 1)),
])
def test_each_broken_rule_of_answers_is_seen(rule, said, answer):
    assert any(c.startswith(f"({rule})") for c in judge_response(outcome(said, GET, answer)))
