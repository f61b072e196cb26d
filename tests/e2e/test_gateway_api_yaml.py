# SPDX-License-Identifier: Apache-2.0
"""Manifests as people and tools write them: what kubectl prints, what Helm renders, other line ends, anchors,
defaults left out or null. Everything is in one folder; each test looks at what became of its part."""
import json

import pytest

from harness import manifests as m

STORY = "It was a dark and stormy night; \\\"quoted\\\", tabs\\tand: colons # no comment {{ braces }} é ☃ "

# kubectl get httproute -o yaml: a List, managedFields, defaults filled in, the status of others.
KUBECTL_LIST = """\
apiVersion: v1
items:
- apiVersion: gateway.networking.k8s.io/v1
  kind: HTTPRoute
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"name":"listed"},"spec":{}}
    creationTimestamp: "2026-03-01T10:00:00Z"
    generation: 4
    labels:
      app.kubernetes.io/managed-by: Helm
      helm.sh/chart: shop-1.2.3
    managedFields:
    - apiVersion: gateway.networking.k8s.io/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:metadata:
          f:annotations:
            .: {}
            f:kubectl.kubernetes.io/last-applied-configuration: {}
        f:spec:
          .: {}
          f:parentRefs: {}
          k:{"name":"web"}: {}
      manager: kubectl-client-side-apply
      operation: Update
      time: "2026-03-01T10:00:00Z"
    - apiVersion: gateway.networking.k8s.io/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:status:
          f:parents: {}
      manager: other-controller
      operation: Update
      subresource: status
      time: "2026-03-01T10:00:01Z"
    name: listed
    namespace: shop
    resourceVersion: "424242"
    uid: 1f0e6f0a-43b3-4f53-8c0e-1d6a4c3c2b1a
  spec:
    parentRefs:
    - group: ""
      kind: Service
      name: web
    rules:
    - backendRefs:
      - group: ""
        kind: Service
        name: a
        port: 80
        weight: 1
      matches:
      - path:
          type: PathPrefix
          value: /listed
  status:
    parents:
    - conditions:
      - lastTransitionTime: "2026-03-01T10:00:01Z"
        message: ""
        observedGeneration: 4
        reason: Accepted
        status: "True"
        type: Accepted
      controllerName: example.com/other
      parentRef:
        group: ""
        kind: Service
        name: web
- apiVersion: gateway.networking.k8s.io/v1beta1
  kind: HTTPRoute
  metadata:
    creationTimestamp: 2026-03-01T10:00:00Z
    name: listed.beta
    namespace: shop
    selfLink: ""
  spec:
    hostnames: []
    parentRefs:
    - group: ""
      kind: Service
      name: web
      sectionName: http
    rules:
    - backendRefs:
      - name: b
        port: 80
      matches:
      - path:
          type: PathPrefix
          value: /beta
kind: List
metadata:
  resourceVersion: ""
"""

# helm template: a comment and a "---" for each template, also for those that rendered to nothing.
HELM = """\
---
# Source: shop/templates/serviceaccount.yaml
---
# Source: shop/templates/disabled.yaml


---
---
# Source: shop/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: release-name-shop
data:
  nginx.conf: |
    server {
    	listen 80;	# tabs in text are text
    }
  "1": "2"
---
# Source: shop/templates/route.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: helm
  namespace: shop
  labels:
    helm.sh/chart: "shop-0.1.0"
    app.kubernetes.io/version: "1.16"

  annotations:
    {}
spec:
  parentRefs:
    - name: "web"
      kind: Service   # the mesh
      group: ''

  rules:
    - matches:

        - path: {"type": "PathPrefix", "value": "/helm"}
      backendRefs:
        - name: 'a'
          port:   80


---

---
null
---
# NOTES
...
"""

ANCHORS = """\
%YAML 1.1
---
x-common: &to-b
  name: b
  port: 80
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: anchors, namespace: shop}
spec:
  parentRefs: &parents [{group: "", kind: Service, name: web}]
  rules:
  - matches: [{path: &prefix {type: PathPrefix, value: /anchor-one}}]
    backendRefs: [*to-b]
  - matches: [{path: {<<: *prefix, value: /anchor-two}}]
    backendRefs: [{<<: *to-b, weight: 2}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: styles, namespace: shop}
spec:
  "parentRefs":
  - {group: !!str , kind: !!str Service, name: web}
  rules:
  - matches:
    - headers:
      - name: X-Folded
        value: >-
          one
          two
      - name: X-Literal
        value: |-
          a: b # c
      - name: "X-Escaped"
        value: "\\x41\\u0042\\
          C"
      path: {type: Exact, value: '/styles/''quoted'''}
    backendRefs: [{name: a, port: 80}]
"""

# Every default left out, empty or null.
DEFAULTS = """\
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata:
  name: nulls
  namespace: shop
  labels: null
  annotations:
  creationTimestamp: null
  managedFields: null
spec:
  hostnames: null
  parentRefs:
  - {group: "", kind: Service, name: nulls, namespace: null, sectionName: ~, port: }
  rules:
  - name: null
    matches: null
    filters: []
    backendRefs: [{group: null, kind: , name: a, port: 80, weight: null, filters: null, namespace: null}]
    timeouts: {}
    retry: null
    sessionPersistence:
status: {}
---
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: empties, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: empties}]
  rules:
  - matches: []
    backendRefs: [{name: b, port: 80}]
  - matches: [{}]
    backendRefs: [{name: c, port: 80}]
  - matches: [{path: {}, headers: [], queryParams: [], method: GET}]
    backendRefs: [{name: a, port: 80, filters: []}]
  - matches: [{path: {value: /typeless}}, {path: {type: Exact}, method: null}]
    backendRefs: [{name: c, port: 80}]
---
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: no-rules, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: no-rules}]}
"""

WINDOWS = """\
  - matches:
    - path:
        type: PathPrefix
        value: /windows
    backendRefs:
    - name: a
      port: 80
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set:
        - name: X-Block
          value: |-
            one line
        - name: X-Plain
          value: plain   # comment
"""

NUMERIC = [("X-Number", "1"), ("X-Float", "1.10"), ("X-Exp", "1e3"), ("X-Hex", "0x10"), ("X-Octal", "0777"),
           ("X-Bool", "true"), ("X-Yes", "no"), ("X-Null", "null"), ("X-Tilde", "~"), ("X-Date", "2026-01-01")]

# What is wrong in a rule, and the field that is named.
WRONG = {
    "number-for-text": ("matches: [{path: {value: /wrong}, headers: [{name: X, value: 1}]}]",
                        "matches[0].headers[0].value"),
    "bool-for-text": ("matches: [{path: {value: /wrong}, queryParams: [{name: q, value: true}]}]",
                      "matches[0].queryParams[0].value"),
    "float-duration": ("timeouts: {request: 10}", "timeouts.request"),
    "text-port": ('backendRefs: [{name: a, port: "80"}]', "backendRefs[0].port"),
    "lower-case-method": ("matches: [{method: get}]", "matches[0].method"),
    "wrong-case-type": ("matches: [{path: {type: prefix, value: /wrong}}]", "matches[0].path.type"),
    "real-weight": ("backendRefs: [{name: a, port: 80, weight: 0.5}]", "backendRefs[0].weight"),
}


def slices(world):
    """EndpointSlices with everything that a controller, or a person, may leave out or put in."""
    text = []

    def add(name, service, endpoints, ports="- {name: http, port: 8080, protocol: TCP}", address_type="IPv4"):
        text.append(f"addressType: {address_type}\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                    f"metadata:\n  name: {name}\n  namespace: shop\n  labels:\n"
                    f"    kubernetes.io/service-name: {service}\nendpoints: {endpoints}\nports: {ports}\n")
    a, b, c = world.a.v4, world.b.v4, world.c.v4
    add("many-1", "many", "null", "null")
    add("many-2", "many", "[]", "[]")
    add("many-3", "many", f"\n- addresses: [{a}]\n  conditions: {{ready: false, serving: true, terminating: true}}\n"
        f"  zone: zone-a\n- addresses: [{b}]\n  conditions: {{}}\n  hostname: pod-0\n", "\n- {name: http, port: 8080}")
    add("many-4", "many", f"\n- addresses: [{c}]\n  conditions:\n    ready: null\n  deprecatedTopology: {{x: y}}\n"
        f"  nodeName: null\n- addresses: [{b}]\n",
        "\n- {name: http, port: 8080, protocol: TCP}\n- {name: udp, port: 53, protocol: UDP}\n")
    add("many-5", "many", "[{addresses: [endpoint.example]}]", "[{name: http, port: 8080}]", "FQDN")
    add("many-6", "other", f"[{{addresses: [{a}]}}]", "[{name: http, port: 8080}]")
    # One unnamed port: the slice's has an empty name, or none.
    add("bare-1", "bare", f"[{{addresses: [{a}]}}]", '[{name: "", port: 8080, protocol: TCP}]')
    add("bare-2", "bare", f"[{{addresses: [{b}]}}]", "[{port: 8080}]")
    return "---\n".join(text)


def service(name, vip, ports):
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n" \
           f"  clusterIP: {vip}\n  ports: {ports}\n"


def route(name, service, rules):
    return ("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
            f"metadata: {{name: {name}, namespace: shop}}\n"
            f"spec:\n  parentRefs: [{{group: \"\", kind: Service, name: {service}}}]\n  rules:\n" + rules)


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    for name in ("nulls", "empties", "no-rules", "windows", "numeric", "annotated", "tabbed", "wrong"):
        w.add_service(name, [w.c])
    w.write_text("list.yaml", KUBECTL_LIST)
    w.write_text("helm.yaml", HELM)
    w.write_text("anchors.yaml", ANCHORS)
    w.write_text("defaults.yaml", DEFAULTS)
    # Written on Windows: a byte order mark, CRLF, and a literal block whose lines end so.
    w.write_text("windows.yaml", ("\ufeff# written with Notepad\n" + route("windows", "windows", WINDOWS) +
                                  "---\n\n---\n").replace("\n", "\r\n"))
    w.write("numeric.yaml", m.route("numeric", [m.rule({**m.path("/"), **m.headers(*NUMERIC)}, "a"),
                                                m.rule(m.queries(("v", "1.10")), "b")], ["numeric"]))
    w.write_text("annotated.yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n"
                 "  name: annotated\n  namespace: shop\n  annotations:\n"
                 f"    story: \"{STORY * 2000}\"\n    ? \"a.key/with:colon\"\n    : >\n      folded\n      text\n\n"
                 "      - not: a list\n    empty: \"\"\n"
                 "spec:\n  parentRefs:\n  - {group: \"\", kind: Service, name: annotated}\n"
                 "  rules:\n  - backendRefs:\n    - name: b\n      port: 80\n")
    w.write_text("tabbed.json", json.dumps(m.route("tabbed", [m.rule(m.path("/"), "a")], ["tabbed"]), indent="\t"))
    # The API server's own answer: a typed list, whose items do not say what they are.
    item = m.route("typed", [m.rule(m.path("/typed"), "b")])
    listed = {"kind": "HTTPRouteList", "apiVersion": item.pop("apiVersion"), "metadata": {"resourceVersion": "9"}}
    del item["kind"]
    w.write_text("typed.json", json.dumps({**listed, "items": [item]}))
    w.write_text("slices.yaml", slices(w) + "---\n" +
                 service("many", "10.96.9.1", "[{name: http, port: 80, targetPort: web}]") + "---\n" +
                 service("bare", "10.96.9.2", "[{port: 80, targetPort: 8080}]"))
    w.vips.update(many=("10.96.9.1", ""), bare=("10.96.9.2", ""))
    w.route("many", [m.rule(backends="many")], ["many"])
    w.route("bare", [m.rule(backends="bare")], ["bare"])
    for name, (field, _) in WRONG.items():
        key = field.split(":")[0]
        rest = {"matches": "matches: [{path: {value: /wrong}}]", "backendRefs": "backendRefs: [{name: a, port: 80}]"}
        lines = [field] + [v for k, v in rest.items() if k != key]
        w.write_text(f"wrong-{name}.yaml", route(f"wrong-{name}", "wrong", "  - " + "\n    ".join(lines) + "\n" +
                                                 f"  - matches: [{{path: {{value: /right/{name}}}}}]\n"
                                                 "    backendRefs: [{name: b, port: 80}]\n"))
    w.start()
    return w


def problems(mesh, file):
    config = mesh.ctl("status")["config"]
    return [(kind[:-1], p.get("field", ""), p["message"]) for kind in ("errors", "warnings") for p in config[kind]
            if p["file"] == file]


@pytest.mark.parametrize("file", ["list.yaml", "helm.yaml", "defaults.yaml", "windows.yaml", "numeric.yaml",
                                  "annotated.yaml", "tabbed.json", "typed.json", "anchors.yaml", "slices.yaml"])
def test_nothing_to_complain_about(mesh, file):
    allowed = {"anchors.yaml": [("warning", "x-common", "unknown field, ignored")],
               "slices.yaml": [("warning", "addressType",
                                "endpoints that are names are not supported, they are left out")]}
    assert problems(mesh, file) == allowed.get(file, [])


@pytest.mark.parametrize("target, pod", [
    ("/listed", "a"), ("/beta/x", "b"), ("/helm", "a"), ("/anchor-one", "b"), ("/anchor-two", "b"), ("/typed", "b"),
])
def test_routes_of_lists_charts_and_anchors(mesh, target, pod):
    assert mesh.fetch(target).seen["pod"] == pod


def test_generation_and_age_of_a_printed_route(mesh):
    listed = next(r for r in mesh.status()["routes"] if r["name"] == "listed")
    (parent,) = listed["parents"]
    assert parent["controllerName"] == "sluice.dev/mesh", "the status of others is not repeated"
    assert {c["observedGeneration"] for c in parent["conditions"]} == {4}


def test_scalar_styles(mesh):
    headers = [("X-Folded", "one two"), ("X-Literal", "a: b # c"), ("X-Escaped", "ABC")]
    assert mesh.fetch("/styles/'quoted'", headers=headers).seen["pod"] == "a"
    assert mesh.fetch("/styles/'quoted'", headers=headers[1:]).status == 404


@pytest.mark.parametrize("service, method, target, pod", [
    ("nulls", "PUT", "/any/thing", "a"), ("empties", "GET", "/", "c"), ("empties", "GET", "/x", "a"),
    ("empties", "POST", "/x", "b"), ("empties", "POST", "/", "c"), ("empties", "POST", "/typeless/x", "c"),
])
def test_defaults(mesh, service, method, target, pod):
    assert mesh.fetch(target, service, method=method).seen["pod"] == pod


def test_a_route_without_rules_has_one_without_backends(mesh):
    assert mesh.fetch("/", "no-rules").status == 500


def test_windows_line_ends(mesh):
    seen = mesh.fetch("/windows", "windows").seen
    assert (seen["pod"], seen.all("x-block"), seen.all("x-plain")) == ("a", ["one line"], ["plain"])


def test_text_that_looks_like_numbers(mesh):
    assert mesh.fetch("/", "numeric", headers=NUMERIC).seen["pod"] == "a"
    changed = [("X-Float", "1.1") if n == "X-Float" else (n, v) for n, v in NUMERIC]
    assert mesh.fetch("/", "numeric", headers=changed).status == 404
    assert mesh.fetch("/?v=1.10", "numeric").seen["pod"] == "b"
    assert mesh.fetch("/?v=1.1", "numeric").status == 404


@pytest.mark.parametrize("service, pod", [("annotated", "b"), ("tabbed", "a")])
def test_long_annotations_and_tabbed_json(mesh, service, pod):
    assert mesh.fetch(service=service).seen["pod"] == pod


@pytest.mark.parametrize("service, expected", [("many", {"b", "c"}), ("bare", {"a", "b"})])
def test_endpoints_of_all_slices(mesh, service, expected):
    assert set(mesh.pods_of(8, service=service)) == expected


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_costs_its_rule(mesh, name):
    field = WRONG[name][1]
    assert [(kind, where) for kind, where, _ in problems(mesh, f"wrong-{name}.yaml")] == [
        ("error", f"spec.rules[0].{field}")]
    assert mesh.fetch(f"/right/{name}", "wrong").seen["pod"] == "b"
    assert mesh.fetch("/wrong", "wrong").status == 404
