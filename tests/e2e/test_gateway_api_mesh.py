# SPDX-License-Identifier: Apache-2.0
"""The Gateway API's mesh conformance tests for HTTPRoute, against objects as `kubectl get -o yaml` prints them:
two workloads echo-v1 and echo-v2 behind Services echo, echo-v1 and echo-v2, and a client in another namespace.
Compared beyond what those tests compare: Location, and method, path, query and Host as the pods see them."""
import contextlib
import socket
import ssl
import textwrap

import pytest

from harness import manifests as m, rawhttp
from harness.wait import wait_for

NS, CONSUMER = "gateway-conformance-mesh", "gateway-conformance-mesh-consumer"
VIPS = {"echo": ("10.96.8.1", "fd00:96::8:1"), "echo-v1": ("10.96.8.2", "fd00:96::8:2"),
        "echo-v2": ("10.96.8.3", "fd00:96::8:3")}
LISTEN = ["http:8080", "tls:8443", "echo:9090", "echo:7070"]


def service(name, selector, h2c):
    return f"""\
apiVersion: v1
kind: Service
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {{"apiVersion":"v1","kind":"Service","metadata":{{"annotations":{{}},"name":"{name}"}},"spec":{{"ports":[]}}}}
  creationTimestamp: "2026-03-01T10:00:00Z"
  name: {name}
  namespace: {NS}
  resourceVersion: "1234"
  uid: 5a9d3c0e-2a11-4b57-9f7e-000000000001
spec:
  clusterIP: {VIPS[name][0]}
  clusterIPs:
  - {VIPS[name][0]}
  - {VIPS[name][1]}
  internalTrafficPolicy: Cluster
  ipFamilies:
  - IPv4
  - IPv6
  ipFamilyPolicy: PreferDualStack
  ports:
  - appProtocol: http
    name: http
    port: 80
    protocol: TCP
    targetPort: 8080
  - appProtocol: http
    name: http-alt
    port: 8080
    protocol: TCP
    targetPort: 8080
  - name: https
    port: 443
    protocol: TCP
    targetPort: 8443
  - name: tcp
    port: 9090
    protocol: TCP
    targetPort: 9090
  - name: grpc
    {"appProtocol: kubernetes.io/h2c" if h2c else "# cleartext, but nobody said so"}
    port: 7070
    protocol: TCP
    targetPort: 7070
  selector:
    {selector}
  sessionAffinity: None
  type: ClusterIP
status:
  loadBalancer: {{}}
"""


def slice_(service, pods, family, h2c):
    """As the EndpointSlice controller writes them."""
    endpoints = "".join(f"""\
- addresses:
  - "{pod.v4 if family == 4 else pod.v6}"
  conditions:
    ready: true
    serving: true
    terminating: false
  hints:
    forZones:
    - name: zone-a
  nodeName: node-1
  targetRef:
    kind: Pod
    name: {pod.name}
    namespace: {pod.namespace}
    uid: {pod.uid}
  zone: zone-a
""" for pod in pods)
    return f"""\
addressType: IPv{family}
apiVersion: discovery.k8s.io/v1
endpoints:
{endpoints}kind: EndpointSlice
metadata:
  annotations:
    endpoints.kubernetes.io/last-change-trigger-time: "2026-03-01T10:00:05Z"
  creationTimestamp: "2026-03-01T10:00:00Z"
  generateName: {service}-
  generation: 3
  labels:
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
    kubernetes.io/service-name: {service}
  managedFields:
  - apiVersion: discovery.k8s.io/v1
    fieldsType: FieldsV1
    fieldsV1:
      f:addressType: {{}}
      f:endpoints: {{}}
      f:ports: {{}}
    manager: kube-controller-manager
    operation: Update
    time: "2026-03-01T10:00:05Z"
  name: {service}-{family}x7k2
  namespace: {NS}
  ownerReferences:
  - apiVersion: v1
    blockOwnerDeletion: true
    controller: true
    kind: Service
    name: {service}
    uid: 5a9d3c0e-2a11-4b57-9f7e-000000000001
  resourceVersion: "1240"
  uid: 5a9d3c0e-2a11-4b57-9f7e-000000000002
ports:
- name: tcp
  port: 9090
  protocol: TCP
- name: grpc
  port: 7070
  protocol: TCP
  {"appProtocol: kubernetes.io/h2c" if h2c else ""}
- appProtocol: http
  name: http
  port: 8080
  protocol: TCP
- appProtocol: http
  name: http-alt
  port: 8080
  protocol: TCP
- name: https
  port: 8443
  protocol: TCP
"""


DEPLOYMENT = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo-v1, namespace: {NS}, labels: {{app: echo}}}}
spec:
  selector: {{matchLabels: {{app: echo, version: v1}}}}
  template:
    metadata: {{labels: {{app: echo, version: v1}}}}
    spec: {{containers: [{{name: echo, image: example.com/echo, args: [--tcp=9090, --port=8080, --tls=8443]}}]}}
"""


class Mesh:
    def __init__(self, world):
        self.world = world
        self.v1 = world.pod("echo-v1", NS, written=False, listen=LISTEN)
        self.v2 = world.pod("echo-v2", NS, written=False, listen=LISTEN)
        self.consumer = world.pod("consumer", CONSUMER, written=False)
        world.vips.update(VIPS)
        documents = [f"apiVersion: v1\nkind: Namespace\nmetadata:\n  labels: {{gateway-conformance: x}}\n  name: {n}\n"
                     f"spec:\n  finalizers:\n  - kubernetes\nstatus:\n  phase: Active\n" for n in (NS, CONSUMER)]
        documents.append(DEPLOYMENT)
        for name, pods, selector in (("echo", [self.v1, self.v2], "app: echo"),
                                     ("echo-v1", [self.v1], "version: v1"), ("echo-v2", [self.v2], "version: v2")):
            documents.append(service(name, selector, name == "echo"))
            documents += [slice_(name, pods, family, name == "echo") for family in (4, 6)]
        world.write_text("manifests.yaml", "---\n" + "---\n".join(documents))
        world.write("pods.yaml", [m.pod(p) for p in (self.v1, self.v2, self.consumer)])
        world.start()

    def fetch(self, service, target="/", port=80, pod=None, **kw):
        return self.world.fetch(target, service, port, pod=pod or self.v1, **{"timeout": 1, "host": service, **kw})

    @contextlib.contextmanager
    def applied(self, spec, name="under-test", ns=NS, more=()):
        """A route, and more of them as (name, namespace, spec)."""
        documents = []
        for route in ((name, ns, spec), *more):
            documents.append(f"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n"
                             f"  name: {route[0]}\n  namespace: {route[1]}\nspec:\n" +
                             textwrap.indent(textwrap.dedent(route[2]), "  "))
        self.world.write_text("under-test.yaml", "---\n".join(documents))
        try:
            # Until then nobody answers at these addresses, and every early request has to time out.
            wait_for(lambda: len(self.world.ctl("routes")["routes"]) == len(documents), what="the routes")
            yield self
        finally:
            self.world.remove("under-test.yaml")
            wait_for(lambda: self.world.ctl("routes")["routes"] == [], what="the routes to go")

    def check(self, cases):
        """As the tests of the API do it: all of them come true in time, and then stay so."""
        for case in cases:
            wait_for(lambda case=case: self.holds(case), what=case)
        for case in cases * 2:
            self.holds(case)

    def holds(self, case):
        request = dict(case.get("request", {}))
        r = self.fetch(case.get("to", "echo"), case.get("target", "/"), case.get("port", 80),
                       case.get("client"), **request)
        assert r.status == case.get("status", 200), (case, r)
        for name, value in case.get("answer", {}).items():
            assert (",".join(r.all(name)) or None) == value, (case, r)
        if "pod" in case:
            seen = r.seen
            assert seen["pod"] == {"v1": self.v1, "v2": self.v2}[case["pod"]].name, (case, seen)
            assert seen["method"] == request.get("method", "GET")
            assert seen["target"] == case.get("seen", case.get("target", "/")), case
            assert seen.all("host") == [request.get("host", case.get("to", "echo"))]
            for name, value in case.get("headers", {}).items():
                assert seen.get_header(name) == value, (case, seen)
        return True


@pytest.fixture(scope="module")
def mesh(make_world):
    return Mesh(make_world())


PARENT = """\
parentRefs:
- group: ""
  kind: Service
  name: echo
  port: 80
rules:
"""


def rules(text):
    return PARENT + textwrap.dedent(text)


@contextlib.contextmanager
def kube_proxy(mesh, service, ports):
    """A pod that has the Service's addresses: who is not routed by the mesh ends up there."""
    world = mesh.world
    pod = world.pod("stand-in", written=False, listen=[f"http:{p}" for p in ports])
    vips = VIPS[service]
    for vip, own in zip(vips, pod.ips):
        pod.ip(f"addr add {vip}/{128 if ':' in vip else 32} dev lo")
        mesh.v1.ip(f"route add {vip} via {own}")
    try:
        yield pod
    finally:
        mesh.v1.ip(*(f"route del {vip}" for vip in vips))
        world.extra_pods.remove(pod)
        world.fabric.forget(pod)


def test_the_manifests_are_understood(mesh):
    config = mesh.world.ctl("status")["config"]
    assert config["errors"] == [] and config["warnings"] == []
    services = {s["name"]: s for s in mesh.world.ctl("services")["services"]}
    assert {n: [p["ready"] for p in s["ports"]] for n, s in services.items()} == {
        "echo": [2] * 5, "echo-v1": [1] * 5, "echo-v2": [1] * 5}


def test_mesh_basic(mesh):
    with kube_proxy(mesh, "echo", [80]) as stand_in:
        r = mesh.fetch("echo")
        assert (r.status, r.seen["pod"], r.seen["peer"][0]) == (200, stand_in.name, mesh.v1.v4)


def test_traffic_split(mesh):
    with mesh.applied("""\
            parentRefs:
            - {group: "", kind: Service, name: echo}
            rules:
            - matches: [{path: {type: Exact, value: /v1}}]
              backendRefs: [{name: echo-v1, port: 80}]
            - matches: [{path: {type: Exact, value: /v2}}]
              backendRefs: [{name: echo-v2, port: 80}]
            """):
        mesh.check([{"target": "/v1", "pod": "v1"}, {"target": "/v2", "pod": "v2"},
                    {"target": "/v1", "port": 8080, "pod": "v1"}, {"target": "/v2?x=/v1", "port": 8080, "pod": "v2"},
                    {"target": "/v1/", "status": 404}, {"target": "/", "status": 404},
                    {"target": "/v2", "pod": "v2", "request": {"family": 6}}])


def test_other_ports_of_an_all_ports_attachment_pass(mesh):
    """TLS on 443 and plain TCP on 9090 reach the Service's own endpoints, byte for byte."""
    def echoed(port, data):
        with rawhttp.Conn((VIPS["echo-v2"][0], port)) as c:
            return c.send(data).read_exact(len(data))

    def tls():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((VIPS["echo-v2"][0], 443), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname="echo-v2") as s:
                return rawhttp.Conn(None, s).request(target="/secret").seen["pod"]
    with mesh.applied("""\
            parentRefs:
            - {group: "", kind: Service, name: echo-v2}
            rules:
            - backendRefs: [{name: echo-v1, port: 80}]
            """):
        mesh.check([{"to": "echo-v2", "pod": "v1"}])
        assert mesh.v1.call(tls) == mesh.v2.name
        assert mesh.v1.call(echoed, 9090, b"\x00plain\xff") == b"\x00plain\xff"


def test_simple_same_namespace(mesh):
    with mesh.applied(rules("""\
            - backendRefs:
              - name: echo-v1
                port: 8080
            """)):
        mesh.check([{"pod": "v1"}, {"target": "/any?thing", "pod": "v1", "request": {"method": "POST", "body": b"x"}}])


def test_matching(mesh):
    with mesh.applied(rules("""\
            - matches:
              - path: {type: PathPrefix, value: /}
              - headers: [{name: version, value: one}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches:
              - path: {type: PathPrefix, value: /v2}
              - headers: [{name: version, value: two}]
              backendRefs: [{name: echo-v2, port: 8080}]
            """)):
        mesh.check([*({"target": t, "pod": "v1"} for t in ("/", "/example", "/v2example", "/foo/v2/example")),
                    *({"target": t, "pod": "v2"} for t in ("/v2", "/v2/", "/v2/example")),
                    {"pod": "v1", "request": {"headers": [("Version", "one")]}},
                    {"pod": "v2", "request": {"headers": [("Version", "two")]}}])


@pytest.mark.parametrize("where", ["rule", "backendRef"])
def test_request_header_modifier(mesh, where):
    filters = {"/set": "set: [{name: X-Header-Set, value: set-overwrites-values}]",
               "/add": "add: [{name: X-Header-Add, value: add-appends-values}]",
               "/remove": "remove: [X-Header-Remove]",
               "/multiple": "set: [{name: X-Header-Set-1, value: header-set-1}], "
                            "add: [{name: X-Header-Add-1, value: header-add-1}], "
                            "remove: [X-Header-Remove-1, X-Header-Remove-2]"}
    text = ""
    for path, body in filters.items():
        entry = f"filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{body}}}}}]"
        text += f"- matches:\n  - path: {{type: PathPrefix, value: {path}}}\n"
        text += f"  {entry}\n" if where == "rule" else ""
        text += "  backendRefs:\n  - name: echo-v1\n    port: 8080\n" + (f"    {entry}\n" if where != "rule" else "")
    with mesh.applied(rules(text)):
        mesh.check([
            {"target": "/set", "pod": "v1", "headers": {"X-Header-Set": "set-overwrites-values"}},
            {"target": "/set", "pod": "v1", "request": {"headers": [("X-Header-Set", "some-other-value")]},
             "headers": {"X-Header-Set": "set-overwrites-values"}},
            {"target": "/add", "pod": "v1", "request": {"headers": [("X-Header-Add", "some-other-value")]},
             "headers": {"X-Header-Add": "some-other-value,add-appends-values"}},
            {"target": "/remove", "pod": "v1", "request": {"headers": [("x-header-remove", "val")]},
             "headers": {"X-Header-Remove": None}},
            {"target": "/multiple", "pod": "v1",
             "request": {"headers": [("X-Header-Remove-2", "val"), ("Another-Header", "kept")]},
             "headers": {"X-Header-Set-1": "header-set-1", "X-Header-Add-1": "header-add-1",
                         "X-Header-Remove-2": None, "Another-Header": "kept"}}])


def redirect(prefix, fields):
    body = ", ".join(f"{k}: {v}" for k, v in fields.items())
    return (f"- matches:\n  - path: {{type: PathPrefix, value: {prefix}}}\n"
            f"  filters:\n  - type: RequestRedirect\n    requestRedirect: {{{body}}}\n")


FULL = "{type: ReplaceFullPath, replaceFullPath: /replacement-full}"
PREFIX = "{type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix}"


@pytest.mark.parametrize("path, fields, target, status, location", [
    ("/hostname-redirect", {"hostname": "example.org"}, "/hostname-redirect", 302,
     "http://example.org/hostname-redirect"),
    ("/host-and-status", {"hostname": "example.org", "statusCode": 301}, "/host-and-status?a=b", 301,
     "http://example.org/host-and-status?a=b"),
    ("/original-prefix", {"path": PREFIX}, "/original-prefix/lemon", 302, "http://echo/replacement-prefix/lemon"),
    ("/full", {"path": FULL}, "/full/path/original?q", 302, "http://echo/replacement-full?q"),
    ("/path-and-host", {"path": PREFIX, "hostname": "example.org"}, "/path-and-host/a", 302,
     "http://example.org/replacement-prefix/a"),
    ("/path-and-status", {"path": PREFIX, "statusCode": 301}, "/path-and-status", 301,
     "http://echo/replacement-prefix"),
    ("/full-path-and-host", {"path": FULL, "hostname": "example.org"}, "/full-path-and-host", 302,
     "http://example.org/replacement-full"),
    ("/full-path-and-status", {"path": FULL, "statusCode": 301}, "/full-path-and-status/x", 301,
     "http://echo/replacement-full"),
    ("/port", {"port": 8083}, "/port", 302, "http://echo:8083/port"),
    ("/port-and-host", {"port": 8083, "hostname": "example.org"}, "/port-and-host", 302,
     "http://example.org:8083/port-and-host"),
    ("/scheme", {"scheme": "https"}, "/scheme", 302, "https://echo/scheme"),
    ("/scheme-and-host", {"scheme": "https", "hostname": "example.org"}, "/scheme-and-host", 302,
     "https://example.org/scheme-and-host"),
    ("/redirect", {"statusCode": 303}, "/redirect", 303, "http://echo/redirect"),
    ("/temporary", {"statusCode": 307}, "/temporary", 307, "http://echo/temporary"),
    ("/permanent", {"statusCode": 308}, "/permanent", 308, "http://echo/permanent"),
])
def test_redirects(mesh, path, fields, target, status, location):
    with mesh.applied(rules(redirect(path, fields))):
        mesh.check([{"target": target, "status": status, "answer": {"Location": location}},
                    {"target": "/elsewhere", "status": 404}])


def test_weight(mesh):
    with mesh.applied(rules("""\
            - backendRefs:
              - {name: echo-v1, port: 8080, weight: 70}
              - {name: echo-v2, port: 8080, weight: 30}
            """)):
        mesh.check([{"target": "/"}])
        # A connection for each, as the client of those tests has it.
        pods = mesh.v1.call(lambda: [rawhttp.fetch((VIPS["echo"][0], 80)).seen["pod"] for _ in range(200)])
    assert abs(pods.count(mesh.v1.name) / 200 - 0.7) <= 0.05 and len(set(pods)) == 2


def test_query_param_matching(mesh):
    with mesh.applied(rules("""\
            - matches: [{queryParams: [{name: animal, value: whale}]}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches: [{queryParams: [{name: animal, value: dolphin}]}]
              backendRefs: [{name: echo-v2, port: 8080}]
            - matches:
              - path: {type: PathPrefix, value: /path1}
                queryParams: [{name: animal, value: whale}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches:
              - headers: [{name: version, value: one}]
                queryParams: [{name: animal, value: whale}]
              backendRefs: [{name: echo-v2, port: 8080}]
            - matches:
              - path: {type: PathPrefix, value: /path3}
                queryParams: [{name: animal, value: shark}]
              - path: {type: PathPrefix, value: /path4}
                headers: [{name: version, value: three}]
                queryParams: [{name: animal, value: kraken}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches: [{path: {type: PathPrefix, value: /path5}}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches: [{queryParams: [{name: animal, value: hydra}]}]
              backendRefs: [{name: echo-v2, port: 8080}]
            """)):
        one, three = {"headers": [("version", "one")]}, {"headers": [("version", "three")]}
        mesh.check([{"target": "/?animal=whale", "pod": "v1"}, {"target": "/?animal=dolphin", "pod": "v2"},
                    {"target": "/?animal=dolphin&color=blue", "pod": "v2"}, {"target": "/?ANIMAL=Whale", "status": 404},
                    {"target": "/?animal=whale&otherparam=irrelevant", "pod": "v1"}, {"status": 404},
                    {"target": "/?animal=whaledolphin", "status": 404},
                    {"target": "/path1?animal=whale", "pod": "v1", "request": one},
                    {"target": "/?animal=whale", "pod": "v2", "request": one},
                    {"target": "/path3?animal=shark", "pod": "v1"},
                    {"target": "/path4?animal=kraken", "pod": "v1", "request": three},
                    {"target": "/path4?animal=kraken", "status": 404},
                    {"target": "/?animal=shark", "status": 404}, {"target": "/path5?animal=hydra", "pod": "v1"}])


def test_rewrite_path(mesh):
    with mesh.applied(rules("""\
            - matches: [{path: {type: PathPrefix, value: /prefix/one}}]
              filters:
              - type: URLRewrite
                urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}}
              backendRefs: [{name: echo-v1, port: 80}]
            - matches: [{path: {type: PathPrefix, value: /strip-prefix}}]
              filters:
              - type: URLRewrite
                urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
              backendRefs: [{name: echo-v1, port: 80}]
            - matches: [{path: {type: PathPrefix, value: /full/one}}]
              filters:
              - type: URLRewrite
                urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /one}}
              backendRefs: [{name: echo-v1, port: 80}]
            - matches: [{path: {type: PathPrefix, value: /prefix/rewrite-path-and-modify-headers}}]
              filters:
              - type: URLRewrite
                urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /prefix}}
              - type: RequestHeaderModifier
                requestHeaderModifier:
                  set: [{name: X-Header-Set, value: set-overwrites-values}]
                  add: [{name: X-Header-Add-Append, value: header-val-2}]
                  remove: [X-Header-Remove]
              backendRefs: [{name: echo-v1, port: 80}]
            """)):
        mesh.check([{"target": "/prefix/one/two", "seen": "/one/two", "pod": "v1"},
                    {"target": "/strip-prefix/three?q=1", "seen": "/three?q=1", "pod": "v1"},
                    {"target": "/strip-prefix", "seen": "/", "pod": "v1"},
                    {"target": "/full/one/two", "seen": "/one", "pod": "v1",
                     "request": {"method": "PUT", "body": b"x"}},
                    {"target": "/prefix/rewrite-path-and-modify-headers/one", "seen": "/prefix/one", "pod": "v1",
                     "request": {"headers": [("X-Header-Remove", "r"), ("X-Header-Add-Append", "append-val-1")]},
                     "headers": {"X-Header-Set": "set-overwrites-values", "X-Header-Remove": None,
                                 "X-Header-Add-Append": "append-val-1,header-val-2"}}])


def test_named_rule(mesh):
    with mesh.applied(rules("""\
            - name: named-rule
              matches: [{path: {type: PathPrefix, value: /named}}]
              backendRefs: [{name: echo-v1, port: 8080}]
            - matches: [{path: {type: PathPrefix, value: /unnamed}}]
              backendRefs: [{name: echo-v2, port: 8080}]
            """)):
        mesh.check([{"target": "/named", "pod": "v1"}, {"target": "/unnamed", "pod": "v2"}])
        (route,) = mesh.world.ctl("routes")["routes"]
        assert route["rules"][0]["name"] == "named-rule"


FRONTEND = """\
parentRefs:
- {group: "", kind: Service, name: echo-v2}
rules:
- filters:
  - type: ResponseHeaderModifier
    responseHeaderModifier: {set: [{name: X-Header-Set, value: set}]}
  backendRefs: [{name: echo-v2, port: 80}]
"""


def test_frontend(mesh):
    """A route governs the Service's address; a pod's own address is nobody's frontend."""
    with mesh.applied(FRONTEND):
        mesh.check([{"to": "echo-v2", "pod": "v2", "answer": {"X-Header-Set": "set"}}])
        for address in mesh.v2.ips:
            r = mesh.v1.call(rawhttp.fetch, (address, 8080))
            assert (r.status, r.seen["pod"], r.get("X-Header-Set")) == (200, mesh.v2.name, None)


def test_frontend_hostname(mesh):
    with kube_proxy(mesh, "echo-v1", [80]) as stand_in, mesh.applied(FRONTEND):
        mesh.check([{"to": "echo-v2", "pod": "v2", "answer": {"X-Header-Set": "set"}, "request": {"host": "echo-v1"}},
                    {"to": "echo-v1", "answer": {"X-Header-Set": None}, "request": {"host": "echo-v2"}}])
        assert mesh.fetch("echo-v1", host="echo-v2").seen["pod"] == stand_in.name


def test_ports(mesh):
    def marked(parent, value):
        return (f"parentRefs:\n- {{group: \"\", kind: Service, {parent}}}\nrules:\n- filters:\n"
                f"  - type: ResponseHeaderModifier\n    responseHeaderModifier:\n      set:\n"
                f"      - {{name: X-Header-Set, value: {value}}}\n"
                f"  backendRefs:\n  - {{name: echo-{value}, port: 80}}\n")
    with kube_proxy(mesh, "echo-v1", [8080]) as stand_in, \
            mesh.applied(marked("name: echo-v1, port: 80", "v1"),
                         more=[("second", NS, marked("name: echo-v2", "v2"))]):
        mesh.check([{"to": "echo-v1", "pod": "v1", "answer": {"X-Header-Set": "v1"}},
                    {"to": "echo-v1", "port": 8080, "answer": {"X-Header-Set": None}},
                    {"to": "echo-v2", "pod": "v2", "answer": {"X-Header-Set": "v2"}},
                    {"to": "echo-v2", "port": 8080, "pod": "v2", "answer": {"X-Header-Set": "v2"}}])
        assert mesh.fetch("echo-v1", port=8080).seen["pod"] == stand_in.name


def test_consumer_route(mesh):
    with mesh.applied(f"""\
            parentRefs:
            - {{group: "", kind: Service, name: echo-v1, namespace: {NS}}}
            rules:
            - filters:
              - type: ResponseHeaderModifier
                responseHeaderModifier: {{set: [{{name: X-Header-Set, value: set}}]}}
              backendRefs:
              - {{name: echo-v1, namespace: {NS}, port: 80}}
            """, "mesh-echo-add-header", CONSUMER):
        mesh.check([{"to": "echo-v1", "pod": "v1", "client": mesh.consumer, "answer": {"X-Header-Set": "set"}},
                    {"to": "echo-v1", "pod": "v1", "client": mesh.v2, "answer": {"X-Header-Set": None}},
                    {"to": "echo-v1", "pod": "v1", "client": mesh.v1, "answer": {"X-Header-Set": None}}])
