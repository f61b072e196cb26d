# SPDX-License-Identifier: Apache-2.0
"""RequestHeaderModifier and ResponseHeaderModifier, on rules and on backendRefs, and what happens to
headers that nobody asked to change."""
import pytest

from harness import manifests as m


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.route("modifiers", [
        m.rule(m.path("/set"), "a", m.request_headers(set={"X-Header-Set": "set-overwrites-values"})),
        m.rule(m.path("/add"), "a", m.request_headers(add={"X-Header-Add": "add-appends-values"})),
        m.rule(m.path("/remove"), "a", m.request_headers(remove=["X-Header-Remove"])),
        m.rule(m.path("/many"), "a", m.request_headers(
            set={"X-Set-1": "1", "X-Set-2": "2"}, add={"X-Add-1": "1", "X-Add-2": "2"},
            remove=["X-Remove-1", "X-Remove-2"])),
        m.rule(m.path("/case"), "a", m.request_headers(set={"x-lower-SET": "new"}, add={"X-mixed-ADD": "new"},
                                                       remove=["x-upper-remove"])),
        m.rule(m.path("/response"), "a", m.response_headers(
            set={"X-Set": "new", "X-Pod": "hidden"}, add={"X-Add": "new"}, remove=["X-Remove"])),
        m.rule(m.path("/backend"), m.backend("a", filters=[
            m.request_headers(set={"X-Backend": "a"}, remove=["X-Gone"]),
            m.response_headers(set={"X-From": "backendRef"})])),
        m.rule(m.path("/both"), m.backend("a", filters=m.request_headers(add={"X-Order": "backend"})),
               m.request_headers(add={"X-Order": "rule"})),
        m.rule(m.path("/host"), "a", m.request_headers(set={"Host": "set.example"})),
        m.rule(m.path("/"), "b"),
    ])
    w.start()
    return w


@pytest.mark.parametrize("target, sent, expected", [
    ("/set", [], {"x-header-set": "set-overwrites-values"}),
    ("/set", [("X-Header-Set", "old")], {"x-header-set": "set-overwrites-values"}),
    ("/set", [("x-header-set", "1"), ("X-HEADER-SET", "2")], {"x-header-set": "set-overwrites-values"}),
    ("/set", [("X-Other", "kept")], {"x-other": "kept"}),
    ("/add", [], {"x-header-add": "add-appends-values"}),
    ("/add", [("X-Header-Add", "some-other-value")], {"x-header-add": "some-other-value,add-appends-values"}),
    ("/remove", [("X-Header-Remove", "1")], {"x-header-remove": None}),
    ("/remove", [("x-header-remove", "1"), ("X-Header-Remove", "2"), ("X-Kept", "3")],
     {"x-header-remove": None, "x-kept": "3"}),
    ("/many", [("X-Set-2", "old"), ("X-Add-2", "old"), ("X-Remove-2", "old"), ("X-Kept", "k")],
     {"x-set-1": "1", "x-set-2": "2", "x-add-1": "1", "x-add-2": "old,2", "x-remove-1": None, "x-remove-2": None,
      "x-kept": "k"}),
    ("/case", [("X-Lower-Set", "old"), ("x-mixed-add", "old"), ("X-UPPER-REMOVE", "old")],
     {"x-lower-set": "new", "x-mixed-add": "old,new", "x-upper-remove": None}),
    ("/backend", [("X-Gone", "1"), ("X-Backend", "0")], {"x-backend": "a", "x-gone": None}),
    ("/both", [], {"x-order": "rule,backend"}),
    ("/other", [("X-Header-Set", "mine"), ("X-Header-Remove", "mine")],
     {"x-header-set": "mine", "x-header-remove": "mine"}),
])
def test_the_backend_sees_the_modified_request(mesh, target, sent, expected):
    seen = mesh.fetch(target, headers=sent).seen
    assert {name: seen.get_header(name) for name in expected} == expected


def test_the_client_sees_the_modified_response(mesh):
    r = mesh.fetch("/response?header=X-Set:old&header=X-Add:old&header=X-Remove:old&header=X-Kept:old")
    assert r.status == 200
    assert (r.all("X-Set"), r.all("X-Pod"), r.all("X-Remove"), r.all("X-Kept")) == (["new"], ["hidden"], [], ["old"])
    assert ",".join(r.all("X-Add")) == "old,new"


def test_a_backendref_modifies_the_response(mesh):
    assert mesh.fetch("/backend").get("X-From") == "backendRef"
    assert mesh.fetch("/other").get("X-From") is None


def test_an_error_answer_of_the_backend_is_modified_too(mesh):
    r = mesh.fetch("/response?status=503")
    assert (r.status, r.get("X-Set")) == (503, "new")


def test_the_host_header_may_be_set(mesh):
    assert mesh.fetch("/host", host="old.example").seen.all("host") == ["set.example"]


def test_nothing_is_added_to_a_request(mesh):
    sent = [("User-Agent", "test/1"), ("Accept", "*/*"), ("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("X-Empty", "")]
    seen = mesh.fetch("/plain", host="any.example:8080", headers=sent).seen
    assert seen["headers"] == [["Host", "any.example:8080"], *[list(h) for h in sent]], \
        "names, case, order, duplicates and empty values stay"


def test_nothing_is_added_to_a_response(mesh):
    r = mesh.fetch("/plain?header=X-B:1&header=x-a:2&header=X-B:3")
    assert [n for n, _ in r.headers] == ["X-Pod", "X-B", "x-a", "X-B", "Content-Type", "Content-Length"]


@pytest.mark.parametrize("connection, gone, kept", [
    ("keep-alive, X-Hop", ["x-hop", "connection"], "x-end"),
    ("close", ["connection"], "x-end"),
    ("X-Hop, X-Nothing", ["x-hop", "connection"], "x-end"),
])
def test_hop_by_hop_fields_end_at_the_agent(mesh, connection, gone, kept):
    seen = mesh.fetch("/plain", headers=[("Connection", connection), ("Keep-Alive", "timeout=9"), ("X-Hop", "1"),
                                         ("Proxy-Connection", "keep-alive"), ("X-End", "1")]).seen
    names = {n.lower() for n, _ in seen["headers"]}
    assert not names & {*gone, "keep-alive", "proxy-connection"}, seen["headers"]
    assert kept in names


def test_long_and_many_headers_pass(mesh):
    sent = [(f"X-{i:03}", "v" * 300) for i in range(100)]
    seen = mesh.fetch("/plain", headers=sent).seen
    assert [h for h in seen["headers"] if h[0].startswith("X-")] == [list(h) for h in sent]


def test_bytes_above_ascii_pass_in_values(mesh):
    value = "caf\xe9 \xfc\xff"
    seen = mesh.fetch("/plain", headers=[("X-Latin", value)]).seen
    assert seen.all("x-latin") == [value]
