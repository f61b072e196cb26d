# SPDX-License-Identifier: Apache-2.0
"""What has to hold for Sluice, whatever it is sent; and what each proxy did, for the table."""
import re

from reference import read_requests, read_responses

# Valid messages that Sluice may refuse all the same: feature -> (section, why).
DECLINED = {
    "Content-Length repeated": ("9110 8.6", "a recipient may refuse a repeated length, also an equal one"),
    "length beyond 63 bits": ("9110 8.6", "a recipient must guard against lengths that its integers cannot hold"),
    "empty element in Transfer-Encoding": ("9110 5.6.1",
                                           "tolerance for empty elements is no gain in a field that frames messages"),
    "another transfer coding": ("9112 6.1", "501 for a transfer coding that is not understood"),
    "several empty lines": ("9112 2.2", "at least one is to be skipped; four are, more are an attack"),
    "another scheme": ("9110 7.1", "only http and https name a resource that is served here"),
    "IPvFuture": ("9110 4.2", "no version of it exists"),
    "port beyond 65535": ("9110 4.2.1", "it names no TCP port"),
    "method beyond 32 bytes": ("9110 9.1", "501 for a method that nobody has registered"),
    "CONNECT with content": ("9110 9.3.6", "content of CONNECT has no meaning, and the tunnel follows"),
    "Connection names many": ("9110 7.6.1", "a limit of 32 on what is to be looked up for each field"),
}
# What RFC grammar forbids and Sluice forwards or takes: feature -> (section, why).
TAKEN = {
    "octets that no URI has": ("9112 3.2", "each visible octet but # goes on as it came: clients do send them, and "
                                           "nobody reads them in two ways"),
    "malformed chunk extension": ("9112 7.1.1", "ignored and taken out: its line cannot be read in two ways"),
    "no space behind the status": ("9112 4", "servers leave it out together with the reason"),
    "length in a response without content": ("9112 6.3", "the response ends with its head; the length is taken out, "
                                                         "the connection not used again"),
}
HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"content-length"}
# Connection cannot name them away (9110 7.6.1: meant for all recipients).
ALL_RECIPIENTS = {b"host", b"content-length", b"transfer-encoding", b"cookie", b"authorization", b"content-type",
                  b"set-cookie", b"date"}
NO_TRAILERS = {b"content-length", b"transfer-encoding", b"host", b"connection", b"authorization", b"upgrade",
               b"trailer", b"set-cookie", b"te"}
MAX_INTERIM = 32
LOOKS_LIKE_HTTP = re.compile(rb"[\r\n]*(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|CONNECT)"
                             rb"(?: /|[^!#$%&'*+.^_`|~0-9A-Za-z\n-][^\n]*HTTP/)")


class Judge:
    """Collects complaints, each with the letter of its rule: a no smuggling, b valid when forwarded, c refused
    and closed, d valid messages pass, e no hang, f faithful, p the next client is served."""

    def __init__(self):
        self.complaints = []

    def check(self, holds, rule, text):
        if not holds:
            self.complaints.append(f"({rule}) {text}")
        return holds


def _end_to_end(m):
    return [(n, v) for n, v in m.fields if n.lower() not in HOP and n.lower() != b"host"]


def _fields_carried(j, asked, got, dropped):
    named = asked.options()
    plain = [f for f in _end_to_end(asked) if f[0].lower() not in named | dropped]
    came = [f for f in _end_to_end(got) if f[0].lower() not in named]
    j.check(came == plain, "f", f"fields {came} instead of {plain}")
    left = {n.lower() for n, _ in got.fields if n.lower() in named and n.lower() not in HOP}
    j.check(left <= ALL_RECIPIENTS, "b", f"Connection named {left}, and they went on")
    kept = [t for t in asked.trailers if t[0].lower() not in NO_TRAILERS]
    j.check(got.trailers == kept, "f", f"trailers {got.trailers} instead of {kept}")


def _hop_fields(j, m, options):
    names = {n.lower() for n, _ in m.fields}
    j.check(m.options() <= options, "b", f"Connection: {m.options()}")
    j.check(not names & {b"keep-alive", b"proxy-connection"}, "b", f"fields of another hop: {names}")
    for name in (b"upgrade", b"te"):
        j.check(name not in names or name in m.options(), "b", f"{name} without Connection")


def _request_carried(j, asked, got, partial=False):
    j.check(got.features <= {"octets that no URI has"}, "b", f"forwarded with {got.features}")
    j.check(got.minor == 1, "b", "forwarded not as HTTP/1.1")
    _hop_fields(j, got, {b"te", b"upgrade"})
    j.check((got.method, got.target) == (asked.method, asked.path), "f",
            f"{got.method} {got.target} instead of {asked.method} {asked.path}")
    host = got.all(b"host")[0]
    if asked.authority or asked.minor:
        j.check(host == asked.authority, "f", f"Host {host} instead of {asked.authority}")
    else:
        j.check(bool(host), "b", "HTTP/1.1 with a Host that nobody gave")
    j.check((got.framing, got.length) == (asked.framing, asked.length), "b",
            f"framing {got.framing} of {asked.framing}")
    if partial:
        j.check(asked.body.startswith(got.body), "f", f"body {got.body} that is no part of {asked.body}")
    else:
        j.check(got.body == asked.body, "f", f"body {got.body} instead of {asked.body}")
    _fields_carried(j, asked, got, set() if asked.minor else {b"expect"})


def _upstream(j, out, reading):
    """Every byte at the backend belongs to a valid request, whole but for the last one."""
    n_partial = 0
    for data, closed in out.upstream:
        up = read_requests(data)
        j.check(up.how in ("end", "incomplete"), "b", f"the backend got {data!r}: {up.how} {up.why}")
        if up.how != "incomplete":
            continue
        n_partial += 1
        j.check(closed, "a", "half a request on a connection that stays open")
        if j.check(bool(up.partial and reading.partial), "c", f"a part of what is refused was forwarded: {data!r}"):
            _request_carried(j, reading.partial, up.partial, True)
    j.check(n_partial <= 1, "a", f"{n_partial} requests begun")


def judge_request(out):
    """Complaints about what Sluice did with a client's bytes."""
    j = Judge()
    asked = read_requests(out.case.data)
    j.check(len(out.requests) <= len(asked.messages), "a",
            f"{len(out.requests)} requests at the backend of {len(asked.messages)} ({asked.how} {asked.why})")
    for want, got in zip(asked.messages, out.requests):
        _request_carried(j, want, got)
    _upstream(j, out, asked)
    refused = asked.how == "invalid"
    if len(out.requests) < len(asked.messages):
        refused = True
        features = asked.messages[len(out.requests)].features
        j.check(bool(features & (DECLINED.keys() | TAKEN.keys())), "d",
                f"refused, though valid: {asked.messages[len(out.requests)]}")
    _answers(j, out, asked, refused)
    return j.complaints


def _answers(j, out, asked, refused):
    # A head that is refused has no method yet: its answer is one to GET, as the connection ends with it.
    methods = [m.method for m in out.requests]
    if asked.partial and not asked.partial.features & DECLINED.keys():
        methods.append(asked.partial.method)
    answers = read_responses(out.answer, methods, True)
    j.check(answers.how == "end", "b", f"the client got {out.answer!r}: {answers.how} {answers.why}")
    final = [a for a in answers.messages if a.status >= 200]
    for got, a in zip(out.requests, final):
        j.check(a.all(b"x-backend") == [got.target], "a", f"{a} to {got}")
    own = final[len(out.requests):]
    j.check(len(own) <= 1 and len(final) >= len(out.requests), "c",
            f"{len(final)} answers to {len(out.requests)} requests")
    for a in answers.messages:
        _hop_fields(j, a, {b"close", b"keep-alive", b"upgrade"})
    for a in own:
        j.check(400 <= a.status < 600 and not a.keep_alive and not a.all(b"x-backend"), "c", f"refused with {a}")
    begin = max([m.end for m in asked.messages[:len(out.requests)]], default=0)
    if not refused:
        j.check(asked.how == "incomplete" or not own, "d", f"refused, though valid: {own}")
    elif b"\r\n\r\n" in out.case.data[begin:].lstrip(b"\r\n"):
        j.check(len(own) == 1, "c", "refused without an answer")
    _aftermath(j, out)


def judge_undeclared(out):
    """The same where the port's protocol was not declared: what does not look like HTTP goes on as bytes, and
    what does is never a tunnel past the rules."""
    complaints = judge_request(out)
    sent = out.case.data
    tunnel = len(out.upstream) <= 1 and all(sent.startswith(data) for data, _ in out.upstream)
    asked = read_requests(sent)
    if tunnel and not asked.messages and not asked.partial and not LOOKS_LIKE_HTTP.match(sent):
        j = Judge()
        _aftermath(j, out)
        return j.complaints
    return complaints


def _aftermath(j, out):
    j.check(not out.hang, "e", "neither an answer nor a close")
    j.check(not out.late, "e", "half a request stays open towards the backend")
    j.check(out.probe is None, "p", f"the next request got {out.probe}")


def judge_response(out):
    """Complaints about what Sluice did with a backend's bytes."""
    j = Judge()
    case = out.case
    said = read_responses(case.data, [case.method], True)
    got = read_responses(out.answer, [case.method], True)
    finals = [m for m in got.messages if m.status >= 200]
    j.check(len(finals) <= 1, "a", f"{len(finals)} answers to one request: {out.answer!r}")
    j.check(got.how in ("end", "incomplete") or out.reset, "b", f"the client got {out.answer!r}: {got.how} {got.why}")
    for m in got.messages + ([got.partial] if got.partial else []):
        _hop_fields(j, m, {b"close", b"keep-alive", b"upgrade"})
        j.check(m.features <= {"octets that no URI has"}, "b", f"forwarded with {m.features}")
        j.check(case.version == b"1.1" or (m.framing != "chunked" and m.status >= 200), "b",
                f"{m} to an HTTP/1.0 client")
    _interims(j, case, said, got)
    _final(j, out, said, got, finals)
    _aftermath(j, out)
    return j.complaints


def _interims(j, case, said, got):
    allowed = [m.status for m in said.messages if m.status < 200]
    came = [m.status for m in got.messages if m.status < 200]
    j.check(100 not in came and 101 not in came, "b", f"{came} that nobody asked for")
    j.check(came == [s for s in allowed if s != 100][:len(came)], "f", f"interim {came} of {allowed}")


def _first_final(said):
    """The final response, whether it is whole, and whether what comes before it may be forwarded."""
    n = 0
    for m in said.messages:
        if m.status == 101:
            return None, False
        if m.status >= 200:
            return m, True
        n += 1
        if n > MAX_INTERIM:
            return None, False
    return (said.partial, False) if said.partial and said.partial.status >= 200 else (None, False)


def _final(j, out, said, got, finals):
    final, whole = _first_final(said)
    own = bool(finals) and finals[0].status >= 500 and (
        finals[0].body.startswith(b"sluice: ") or (out.case.method == b"HEAD" and finals[0].status == 502))
    if final is None:
        j.check(own, "c", f"no valid head, and the client got {out.answer[:300]!r}")
        return
    if whole:
        if own:
            j.check(bool(final.features & (DECLINED.keys() | TAKEN.keys())), "d", f"refused, though valid: {final}")
        elif j.check(bool(finals), "d", f"no answer: {out.answer!r}"):
            _response_carried(j, final, finals[0])
        return
    if own:
        return
    cut = got.how == "incomplete" or not out.answer or out.reset
    j.check(cut, "f", f"a cut answer became whole: {out.answer!r}")


def _response_carried(j, said, got):
    j.check((got.status, got.body) == (said.status, said.body), "f", f"{got} instead of {said}")
    if said.framing == "length":
        j.check(got.framing == "length", "f", f"framing {got.framing} of {said.framing}")
    if said.framing == got.framing == "chunked":
        _fields_carried(j, said, got, set())
    else:
        trailers, said.trailers = said.trailers, []
        _fields_carried(j, said, got, set())
        said.trailers = trailers


# For the table

def request_verdict(out):
    """passes, refuses (or closes), repairs (forwards a valid form of what is not), passes malformed, passes
    more (requests than were sent), hangs."""
    asked = read_requests(out.case.data)
    if out.hang:
        return "hangs"
    if any(read_requests(data).how in ("invalid", "ignored") for data, _ in out.upstream):
        return "passes malformed"
    if len(out.requests) > len(asked.messages):
        return "repairs" if asked.how == "invalid" else "passes more"
    if len(out.requests) == len(asked.messages) and asked.how in ("end", "ignored"):
        return "passes"
    return "refuses"


def response_verdict(out):
    """passes, refuses (5xx), cuts, repairs, passes malformed, passes more, hangs."""
    said = read_responses(out.case.data, [out.case.method], True)
    got = read_responses(out.answer, [out.case.method], True)
    finals = [m for m in got.messages if m.status >= 200]
    final, whole = _first_final(said)
    if out.hang:
        return "hangs"
    if got.how == "invalid":
        return "passes malformed"
    if len(finals) > 1:
        return "passes more"
    if not finals or (out.reset and finals[0].framing == "eof"):
        return "cuts"
    if finals[0].status >= 500 and not finals[0].all(b"x-tag") and (not final or finals[0].status != final.status):
        return "refuses"
    return "passes" if whole else "repairs"
