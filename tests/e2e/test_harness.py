# SPDX-License-Identifier: Apache-2.0
"""The harness itself, without an agent: what the other tests rely on."""
import socket

import pytest

from harness import pattern, rawhttp
from harness.manifests import to_yaml


@pytest.mark.parametrize("family", [4, 6])
def test_pods_reach_each_other(pods, family):
    address = pods["a"].v4 if family == 4 else pods["a"].v6
    r = pods["client"].call(rawhttp.fetch, (address, 8080))
    assert r.status == 200
    assert r.seen["pod"] == "a"
    assert r.seen["peer"][0] == (pods["client"].v4 if family == 4 else pods["client"].v6)


def test_a_service_address_is_served_by_nobody(pods):
    def connect():
        with socket.socket() as s:
            s.settimeout(3)
            s.connect(("10.96.0.10", 80))
    with pytest.raises(OSError):
        pods["client"].call(connect)


def test_the_backend_shows_what_it_saw(pods):
    r = pods["client"].call(lambda: rawhttp.fetch(
        (pods["b"].v4, 8080), "POST", "/x?q=1", "example", [("X-Two", "1"), ("x-two", "2")], body=[b"ab", b"c"]))
    seen = r.seen
    assert (seen["method"], seen["target"], seen.all("x-two")) == ("POST", "/x?q=1", ["1", "2"])
    assert (seen["body_len"], seen["chunks"], seen["body_head"]) == (3, 2, "abc")


def test_the_backend_sends_the_pattern(pods):
    r = pods["client"].call(lambda: rawhttp.fetch((pods["a"].v4, 8080), target="/?size=300000&chunked=1&trailers=1"))
    assert r.body == b"".join(pattern.pieces(300000))
    assert r.trailers == [("X-Trailer", "behind")]


def test_an_assertion_in_a_pod_fails_the_test(pods):
    def fail():
        assert 1 == 2, "in the pod"
    with pytest.raises(AssertionError, match="in the pod"):
        pods["client"].call(fail)


def test_yaml_is_block_style():
    text = to_yaml({"a": [{"b": 1, "c": ["x", "yes"]}, {}], "d": "1"})
    assert text == 'a:\n  - b: 1\n    c:\n      - x\n      - "yes"\n  - {}\nd: "1"\n'
