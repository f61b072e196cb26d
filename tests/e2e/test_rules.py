# SPDX-License-Identifier: Apache-2.0
"""Which rule a request is given to: every kind of match, and their precedence. Each backend has a
Service of its name, so the pod that answers names the rule."""
import pytest

from harness import manifests as m


@pytest.fixture(scope="module")
def rules(make_world):
    w = make_world().base()
    m_all = {**m.path("/and"), **m.headers(("X-Env", "canary")), **m.queries(("v", "2")), "method": "POST"}
    w.route("matches", [
        m.rule(m.exact("/exact"), "a"),
        m.rule(m.path("/prefix"), "b"),
        m.rule(m.path("/slash/"), "c"),
        m.rule(m.regex("/re/[0-9]+(/x)?"), "a"),
        m.rule(m.headers(("X-Color", "blue")), "a"),
        m.rule(m.headers(("X-Build", "v[0-9]+\\.[0-9]+"), kind="RegularExpression"), "b"),
        m.rule(m.queries(("animal", "whale")), "c"),
        m.rule(m.queries(("id", "[a-f0-9]{4}"), kind="RegularExpression"), "a"),
        m.rule({**m.path("/method"), "method": "DELETE"}, "b"),
        m.rule(m_all, "c"),
        m.rule([m.exact("/or/1"), m.exact("/or/2")], "a"),
        m.rule({**m.path("/host"), **m.headers(("Host", "special.example"))}, "b"),
        m.rule({**m.path("/dup"), **m.headers(("X-Dup", "1"), ("x-dup", "2"))}, "c"),
        m.rule({**m.path("/joined"), **m.headers(("X-List", "1,2"))}, "a"),
        m.rule({**m.path("/cookie"), **m.headers(("Cookie", "x=1; y=2"))}, "a"),
    ])
    w.add_service("ranks", [w.c], vip=("10.96.0.20", "fd00:96::20"))
    w.route("ranks", [
        m.rule(m.path("/"), "c"),
        m.rule(m.path("/x"), "b"),
        m.rule(m.exact("/x"), "a"),
        m.rule(m.path("/long/er"), "a"),
        m.rule(m.path("/long"), "b"),
        m.rule(m.headers(("X-A", "1")), "a"),
        m.rule(m.queries(("q", "1")), "b"),
        m.rule({**m.path("/m"), **m.headers(*((f"X-{i}", "1") for i in range(5)))}, "a"),
        m.rule({**m.path("/m"), "method": "GET"}, "b"),
        m.rule(m.path("/re"), "b"),
        m.rule(m.regex("/re/.*"), "a"),
        m.rule(m.exact("/re/exact"), "c"),
        m.rule({**m.path("/n"), **m.headers(("X-A", "1"))}, "b"),
        m.rule({**m.path("/n"), **m.headers(("X-A", "1"), ("X-B", "1"))}, "a"),
        m.rule(m.path("/same"), "a"),
        m.rule(m.path("/same"), "b"),
    ], parents=["ranks"])
    w.start()
    return w


def _case(target, pod, method="GET", headers=(), host="web"):
    return pytest.param({"target": target, "method": method, "headers": headers, "host": host}, pod,
                        id=f"{method}-{target}" + "".join(f"-{n}={v}" for n, v in headers) +
                           (f"-{host}" if host != "web" else ""))


@pytest.mark.parametrize("request_, pod", [
    _case("/exact", "a"), _case("/exact?q=1", "a"), _case("/exact/", None), _case("/Exact", None),
    _case("/exact/x", None),
    _case("/prefix", "b"), _case("/prefix/", "b"), _case("/prefix/x/y", "b"), _case("/prefixes", None),
    _case("/PREFIX", None), _case("/prefix?x", "b"),
    _case("/slash", "c"), _case("/slash/", "c"), _case("/slash/x", "c"), _case("/slashes", None),
    _case("/re/12", "a"), _case("/re/12/x", "a"), _case("/re/", None), _case("/re/12/y", None),
    _case("/zre/12", None), _case("/re/12/xx", None),
    _case("/h", "a", headers=[("x-COLOR", "blue")]), _case("/h", None, headers=[("X-Color", "Blue")]),
    _case("/h", None, headers=[("X-Color", "blue2")]), _case("/h", None),
    _case("/h", "b", headers=[("X-Build", "v1.20")]), _case("/h", None, headers=[("X-Build", "xv1.20")]),
    _case("/h", None, headers=[("X-Build", "v1.20-rc")]),
    _case("/q?animal=whale", "c"), _case("/q?x=1&animal=whale&y", "c"), _case("/q?animal=Whale", None),
    _case("/q?Animal=whale", None), _case("/q?animal=whales", None), _case("/q?animal", None),
    _case("/q?animal=whale&animal=dog", "c"), _case("/q?animal=dog&animal=whale", None),
    _case("/q?id=beef", "a"), _case("/q?id=beefy", None), _case("/q?id=xbeef", None),
    _case("/method", "b", "DELETE"), _case("/method", None), _case("/method", None, "POST"),
    _case("/and?v=2", "c", "POST", [("X-Env", "canary")]), _case("/and?v=2", None, "GET", [("X-Env", "canary")]),
    _case("/and?v=1", None, "POST", [("X-Env", "canary")]), _case("/and?v=2", None, "POST"),
    _case("/xand?v=2", None, "POST", [("X-Env", "canary")]),
    _case("/or/1", "a"), _case("/or/2", "a"), _case("/or/3", None),
    _case("/host", "b", host="special.example"), _case("/host", None, host="other.example"),
    _case("/dup", "c", headers=[("X-Dup", "1")]), _case("/dup", None, headers=[("X-Dup", "2")]),
    _case("/joined", "a", headers=[("X-List", "1"), ("x-list", "2")]), _case("/joined", None, headers=[("X-List", "1")]),
    _case("/cookie", "a", headers=[("Cookie", "x=1"), ("cookie", "y=2")]),
    _case("/nothing", None), _case("/", None),
])
def test_a_request_meets_the_rule_that_matches(rules, request_, pod):
    r = rules.fetch(**request_)
    if pod is None:
        assert r.status == 404, r
    else:
        assert r.status == 200, r
        assert r.seen["pod"] == pod
        assert r.seen["target"] == request_["target"], "the target reaches the backend as it was sent"


@pytest.mark.parametrize("request_, pod", [
    _case("/x", "a"), _case("/x/", "b"), _case("/x/y", "b"), _case("/y", "c"),
    _case("/long/er", "a"), _case("/long/er/x", "a"), _case("/long/e", "b"), _case("/longer", "c"),
    _case("/y", "a", headers=[("X-A", "1")]), _case("/x", "a", headers=[("X-A", "1")]),
    _case("/x/y", "b", headers=[("X-A", "1")]),
    _case("/y?q=1", "b"), _case("/y?q=1", "a", headers=[("X-A", "1")]), _case("/long/er?q=1", "a"),
    _case("/m", "b", headers=[(f"X-{i}", "1") for i in range(5)]),
    _case("/m", "a", "POST", headers=[(f"X-{i}", "1") for i in range(5)]),
    _case("/re/1", "a"), _case("/re/exact", "c"), _case("/re", "b"),
    _case("/n", "b", headers=[("X-A", "1")]), _case("/n", "a", headers=[("X-A", "1"), ("X-B", "1")]),
    _case("/same", "a"),
])
def test_the_most_specific_rule_wins(rules, request_, pod):
    r = rules.fetch(service="ranks", **request_)
    assert (r.status, r.seen["pod"]) == (200, pod)


@pytest.mark.parametrize("raw, matched", [
    ("/exact/../prefix/x", "b"), ("/prefix/../exact", "a"), ("/./exact", "a"), ("/x/../../exact", "a"),
    ("/prefix/%2e%2e/exact", "a"), ("/prefix%2Fx", None), ("/%65xact", None), ("/prefix/..%2Fexact", "b"),
])
def test_paths_are_compared_without_dot_segments_and_undecoded(rules, raw, matched):
    r = rules.fetch(raw)
    assert (r.seen["pod"] if r.status == 200 else None) == matched, r


def test_the_absolute_form_is_routed_by_its_path(rules):
    r = rules.fetch("http://web/exact?x=1", host="web")
    assert (r.status, r.seen["pod"], r.seen["target"]) == (200, "a", "/exact?x=1")


@pytest.mark.parametrize("family", [4, 6])
def test_both_families_are_routed(rules, family):
    r = rules.fetch("/exact", family=family)
    assert (r.status, r.seen["pod"]) == (200, "a")
    own = rules.client.v4 if family == 4 else rules.client.v6
    assert r.seen["peer"][0] in (rules.client.v4, rules.client.v6), f"the client pod's address, as {own}"
