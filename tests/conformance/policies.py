# SPDX-License-Identifier: Apache-2.0
"""Policies for the schemas of our CRDs: those that the documents show, and a table of bad ones, each with what an API
server has to say of it."""
import copy
import glob
import os
import re

import yaml

import sluice
from harness import manifests as m

CRDS = sorted(glob.glob(os.path.join(sluice.ROOT, "manifests", "kubernetes", "base", "*-crd.yaml")))
GATEWAY = "gateway.networking.k8s.io"
GROUPS = (GATEWAY, "policy.sluice.dev")

SERVICE, ROUTE = {"group": "", "kind": "Service", "name": "a"}, {"group": GATEWAY, "kind": "HTTPRoute", "name": "r"}
HASH = {"type": "ConsistentHash", "consistentHash": {"type": "Header", "name": "X-User"}}
TWICE = "targetRefs must not name the same target twice"
ONE_SHARE = "needs percent or fraction, and not both"
TOO_LARGE = "numerator must not be greater than the denominator"

TRAFFIC = m.policy("p", "a")
FAULTS = m.faults("f", ("HTTPRoute", "r"), {"delay": {"duration": "1s", "percent": 1}})
DAY = {"startsAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-02T00:00:00Z"}


def delay(**fields):
    return {"faults": [{"delay": {"duration": "1s", **fields}}]}


def abort(**fields):
    return {"faults": [{"abort": fields}]}


# (a good object, fields of its spec that make another of it, what is said; None: it is good)
TABLE = (
    (TRAFFIC, {}, None),
    (TRAFFIC, {"targetRefs": []}, "should have at least 1 items"),
    (TRAFFIC, {"targetRefs": [SERVICE, SERVICE]}, TWICE),
    (TRAFFIC, {"targetRefs": [SERVICE, {"kind": "Service", "name": "a"}]}, TWICE),
    (TRAFFIC, {"targetRefs": [SERVICE, {**SERVICE, "sectionName": "http"}]}, None),
    (TRAFFIC, {"targetRefs": [{**SERVICE, "group": GATEWAY}]}, "empty of a Service"),
    (TRAFFIC, {"targetRefs": [{**ROUTE, "group": ""}]}, "group must be gateway.networking.k8s.io of a route"),
    (TRAFFIC, {"targetRefs": [{"kind": "HTTPRoute", "name": "r"}]}, "group must be gateway.networking.k8s.io of a route"),
    (TRAFFIC, {"targetRefs": [{**ROUTE, "kind": "TLSRoute"}]}, 'Unsupported value: "TLSRoute"'),
    (TRAFFIC, {"targetRefs": [{**ROUTE, "sectionName": "rule"}]}, "sectionName is for Services alone"),
    (TRAFFIC, {"targetRefs": [{**SERVICE, "sectionName": "Web"}]}, "sectionName in body should match"),
    (TRAFFIC, {"loadBalancer": {"type": "Random"}}, 'Unsupported value: "Random"'),
    (TRAFFIC, {"loadBalancer": HASH}, None),
    (TRAFFIC, {"loadBalancer": {"type": "ConsistentHash"}}, "consistentHash is required for type ConsistentHash"),
    (TRAFFIC, {"loadBalancer": {**HASH, "type": "PeakEWMA"}}, "consistentHash is required for type ConsistentHash"),
    (TRAFFIC, {"loadBalancer": {**HASH, "slowStart": {"window": "30s"}}}, "slowStart must not be there for type ConsistentHash"),
    (TRAFFIC, {"loadBalancer": {**HASH, "consistentHash": {"type": "Cookie"}}}, "name is required for types Header and Cookie"),
    (TRAFFIC, {"loadBalancer": {**HASH, "consistentHash": {"type": "SourceIP", "name": "x"}}}, "must not be there for SourceIP"),
    (TRAFFIC, {"loadBalancer": {"type": "RoundRobin", "slowStart": {"window": "24h"}}}, None),
    (TRAFFIC, {"loadBalancer": {"type": "RoundRobin", "slowStart": {"window": "24h1ms"}}}, "must be from 1ms to 24h"),
    (TRAFFIC, {"loadBalancer": {"type": "RoundRobin", "slowStart": {"window": "0s"}}}, "must be from 1ms to 24h"),
    (TRAFFIC, {"loadBalancer": {"type": "RoundRobin", "slowStart": {"window": "soon"}}}, "window in body should match"),
    (TRAFFIC, {"outlierDetection": {"maxEjectionTime": "30s"}}, None),
    (TRAFFIC, {"outlierDetection": {"maxEjectionTime": "29s"}}, "maxEjectionTime must not be shorter than baseEjectionTime"),
    (TRAFFIC, {"outlierDetection": {"baseEjectionTime": "1h", "maxEjectionTime": "59m"}},
     "maxEjectionTime must not be shorter than baseEjectionTime"),
    (TRAFFIC, {"outlierDetection": {"maxEjectedPercent": 101}}, "should be less than or equal to 100"),
    (TRAFFIC, {"outlierDetection": {"consecutive5xx": -1}}, "should be greater than or equal to 0"),
    (TRAFFIC, {"circuitBreaker": {"maxRequests": 0}}, "should be greater than or equal to 1"),
    (TRAFFIC, {"circuitBreaker": {"perEndpoint": {"maxConnections": "1"}}}, "must be of type integer"),

    (FAULTS, {}, None),
    (FAULTS, {"expiresAt": None}, "spec.expiresAt: Required value"),
    (FAULTS, {"expiresAt": "soon"}, "must be of type date-time"),
    (FAULTS, DAY, None),
    (FAULTS, {**DAY, "expiresAt": "2026-01-02T00:00:01Z"}, "expiresAt must be later than startsAt, by at most 24h"),
    (FAULTS, {**DAY, "expiresAt": DAY["startsAt"]}, "expiresAt must be later than startsAt, by at most 24h"),
    (FAULTS, {"targetRefs": [ROUTE, ROUTE]}, TWICE),
    (FAULTS, {"targetRefs": [ROUTE, {**ROUTE, "sectionName": "rule"}, SERVICE]}, None),
    (FAULTS, {"targetRefs": [{**SERVICE, "group": GATEWAY}]}, 'a Service is of group "", a route of group gateway'),
    (FAULTS, {"targetRefs": [{"kind": "HTTPRoute", "name": "r"}]}, 'a Service is of group "", a route of group gateway'),
    (FAULTS, {"targetRefs": [{**ROUTE, "kind": "TCPRoute"}]}, 'Unsupported value: "TCPRoute"'),
    (FAULTS, {"maxDelayed": 10001}, "should be less than or equal to 10000"),
    (FAULTS, {"faults": []}, "should have at least 1 items"),
    (FAULTS, {"faults": FAULTS["spec"]["faults"] * 17}, "must have at most 16 items"),
    (FAULTS, {"faults": [{"matches": [m.path("/")]}]}, "must have delay or abort"),
    (FAULTS, {"faults": [{**FAULTS["spec"]["faults"][0], "matches": [{"method": "BREW"}]}]}, 'Unsupported value: "BREW"'),
    (FAULTS, delay(percent=1, jitter="soon"), "jitter in body should match"),
    (FAULTS, delay(percent=1, duration="5m"), None),
    (FAULTS, delay(percent=1, duration="5m1ms"), "must be from 1ms to 5m"),
    (FAULTS, delay(percent=1, duration="0ms"), "must be from 1ms to 5m"),
    (FAULTS, delay(percent=101), "should be less than or equal to 100"),
    (FAULTS, delay(), ONE_SHARE),
    (FAULTS, delay(percent=1, fraction={"numerator": 1}), ONE_SHARE),
    (FAULTS, delay(fraction={"numerator": 100}), None),
    (FAULTS, delay(fraction={"numerator": 101}), TOO_LARGE),
    (FAULTS, delay(fraction={"numerator": 2, "denominator": 1}), TOO_LARGE),
    (FAULTS, abort(percent=1, httpStatus=503), None),
    (FAULTS, abort(percent=1, httpStatus=200), "should be greater than or equal to 400"),
    (FAULTS, abort(percent=1, grpcStatus=0), "should be greater than or equal to 1"),
    (FAULTS, abort(percent=1), "needs httpStatus or grpcStatus"),
    (FAULTS, abort(httpStatus=503), ONE_SHARE),
    (FAULTS, abort(percent=1, httpStatus=503, fraction={"numerator": 1}), ONE_SHARE),
    (FAULTS, abort(httpStatus=503, fraction={"numerator": 3, "denominator": 2}), TOO_LARGE),
)


def case(good, fields):
    """The object. A field that is None is left out."""
    made = copy.deepcopy(good)
    made["spec"].update(fields)
    made["spec"] = {k: v for k, v in made["spec"].items() if v is not None}
    return made


def rules():
    """{(kind, message)} of all CEL rules of our CRDs."""
    found = set()

    def walk(kind, node):
        if isinstance(node, dict):
            found.update((kind, v["message"]) for v in node.get("x-kubernetes-validations", ()))
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                walk(kind, child)
    for path in CRDS:
        with open(path) as f:
            crd = yaml.safe_load(f)
        walk(crd["spec"]["names"]["kind"], crd["spec"]["versions"])
    return found


def examples():
    """[(file, object)]: all policies and routes that docs/ and manifests/ show whole."""
    found = []
    for folder, ending in (("docs", "md"), ("manifests", "yaml")):
        for path in sorted(glob.glob(os.path.join(sluice.ROOT, folder, "**", "*." + ending), recursive=True)):
            with open(path) as f:
                text = f.read()
            blocks = _blocks(text) if ending == "md" else re.split(r"^---$", text, flags=re.M)
            found += [(os.path.relpath(path, sluice.ROOT), yaml.safe_load(b)) for b in blocks
                      if re.search(rf"^apiVersion: ({'|'.join(map(re.escape, GROUPS))})/", b, re.M)]
    return found


def _blocks(markdown):
    """Documents of fenced and of indented YAML, here-documents too."""
    fenced = re.findall(r"^```yaml\n(.*?)^```", markdown, re.M | re.S)
    indented = [re.sub(r"^    ", "", b, flags=re.M)
                for b in re.findall(r"^    apiVersion: .*\n(?:    (?!EOF).*\n|\n(?=    \S))*", markdown, re.M)]
    return [part for block in fenced + indented for part in re.split(r"^---$", block, flags=re.M)]
