# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API server's lists and watches over TLS, with faults on demand. It runs in the test's own process;
only its listening socket is in the node's network namespace. Tests with the real server are beside this; here it
is the server that misbehaves."""
import copy
import http.server
import json
import os
import re
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.parse

from . import netns

GROUPS = {"namespaces": "/api/v1", "services": "/api/v1", "pods": "/api/v1", "nodes": "/api/v1",
          "configmaps": "/api/v1", "secrets": "/api/v1",
          "endpointslices": "/apis/discovery.k8s.io/v1", "trafficpolicies": "/apis/policy.sluice.dev/v1alpha1",
          "faultinjections": "/apis/policy.sluice.dev/v1alpha1",
          "xbackendtrafficpolicies": "/apis/gateway.networking.x-k8s.io/v1alpha1",
          "xbackends": "/apis/gateway.networking.x-k8s.io/v1alpha1",
          "httproutes": "/apis/gateway.networking.k8s.io/v1",
          "grpcroutes": "/apis/gateway.networking.k8s.io/v1",
          "tlsroutes": "/apis/gateway.networking.k8s.io/v1",
          "tcproutes": "/apis/gateway.networking.k8s.io/v1",
          "udproutes": "/apis/gateway.networking.k8s.io/v1",
          "backendtlspolicies": "/apis/gateway.networking.k8s.io/v1"}
PLURALS = {"Namespace": "namespaces", "Service": "services", "Pod": "pods", "Node": "nodes",
           "EndpointSlice": "endpointslices", "TrafficPolicy": "trafficpolicies",
           "FaultInjection": "faultinjections",
           "XBackendTrafficPolicy": "xbackendtrafficpolicies",
           "XBackend": "xbackends",
           "ConfigMap": "configmaps", "Secret": "secrets", "HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes",
           "TLSRoute": "tlsroutes", "TCPRoute": "tcproutes", "UDPRoute": "udproutes",
           "BackendTLSPolicy": "backendtlspolicies"}
MESHES = "/apis/gateway.networking.x-k8s.io/v1alpha1/xmeshes"
GROUPS["xmeshes"] = MESHES.rpartition("/")[0]
PLURALS["XMesh"] = "xmeshes"
EVENTS = re.compile(r"/apis/events\.k8s\.io/v1/namespaces/([^/]+)/events(?:/([^/]+))?$")
LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?$")
STATUS = re.compile(r"(/apis/[^/]+/v1\w*)(?:/namespaces/([^/]+))?/([^/]+)/([^/]+)/status$")
COLLECTION = re.compile(r"(/api|/apis/[^/]+)/([^/]+)(?:/namespaces/([^/]+))?/([^/]+)$")
DISCOVERY = re.compile(r"/apis/([^/]+)(?:/([^/]+))?$")


def _group(plural):
    return GROUPS[plural].rpartition("/")[0]


# What the CRD gives a new XMesh.
PENDING = {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending",
                           "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}


def _key(obj):
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _selected(obj, namespace, query):
    """fieldSelector of one equation, or labelSelector of several, as the agent uses them."""
    if namespace and obj["metadata"].get("namespace") != namespace:
        return False
    labels = query.get("labelSelector")
    if labels and not dict(p.split("=") for p in labels.split(",")).items() <= obj["metadata"].get("labels", {}).items():
        return False
    selector = query.get("fieldSelector")
    if not selector:
        return True
    path, _, want = selector.partition("=")
    for part in path.split("."):
        obj = obj.get(part, {})
    return obj == want


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # clients that are cut are what the tests are about


class Api:
    def __init__(self, entry, folder, port=16443):
        """entry: in whose network namespace it listens, None: here."""
        self.folder, self.port = folder, port
        self._entry = entry
        self._lock = threading.Condition()
        self._objects = {plural: {} for plural in GROUPS}
        self._events = []  # (version, plural, type, object)
        self._version, self._compacted = 100, 100
        self._epoch = 0  # a watch that began before ends
        self.bookmark_s = 1  # a watch without news says so after that long
        self._faults = []  # answers to the next requests: functions of a handler
        self.absent = {"xmeshes"}  # plurals whose CRD is not there
        self.versions = {plural: {prefix.rpartition("/")[2]} for plural, prefix in GROUPS.items()}  # served
        self.group_faults = {}  # API group: the status of its discovery documents
        self.token = "secret"
        self.requests = []  # (method, path, query)
        self.pages = {}  # (plural, number of the first object): a page of a list that was made before
        self.page = None  # objects of a page at most, whatever the client asks
        self.leases = {}  # (namespace, name): Lease
        self.lease_fault = None  # a status for every request about leases
        self.patch_faults = []  # statuses of the next patches
        self.before_patch = None  # called once, with the object, before the next patch is looked at
        self.events = {}  # name: Event
        self.event_fault = None  # a status for every request about Events
        self.created = []  # XMeshes, as they were sent
        self.patches = []  # (name, patch, status answered)
        self.told = {}  # plural: when its last event had been written to a watch
        self._server = None
        self._make_cert()
        self.token_file = os.path.join(folder, "token")
        self.write_token(self.token)

    # the server

    def _make_cert(self):
        self.cert, self.key = os.path.join(self.folder, "api.crt"), os.path.join(self.folder, "api.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=api",
                        "-addext", "subjectAltName=DNS:kubernetes,IP:127.0.0.1"],
                       check=True, capture_output=True)

    def _listen(self):
        """A socket belongs to the namespace of the thread that made it."""
        result = []

        def run():
            if self._entry:
                netns.setns(self._entry.netns)
            server = _Server(("127.0.0.1", self.port), self._handler())
            self.port = server.server_port
            result.append(server)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return result[0]

    def start(self):
        self._server = self._listen()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        """No connection is answered any more, and those that are open end."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.cut()

    def kubeconfig(self, **cluster):
        path = os.path.join(self.folder, "kubeconfig.json")
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "t",
                  "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                  "clusters": [{"name": "t", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                         "certificate-authority": self.cert, **cluster}}],
                  "users": [{"name": "t", "user": {"tokenFile": self.token_file}}]}
        with open(path, "w") as f:
            json.dump(config, f)
        return path

    def write_token(self, token):
        with open(self.token_file + ".new", "w") as f:
            f.write(token + "\n")
        os.rename(self.token_file + ".new", self.token_file)

    # objects

    def apply(self, *objects):
        with self._lock:
            for obj in objects:
                plural = PLURALS[obj["kind"]]
                obj = copy.deepcopy(obj)
                old = self._objects[plural].get(_key(obj))
                self._version += 1
                obj["metadata"]["resourceVersion"] = str(self._version)
                obj["metadata"].setdefault("uid", f"uid-{self._version}")
                self._objects[plural][_key(obj)] = obj
                self._events.append((self._version, plural, "MODIFIED" if old else "ADDED", obj))
            self._lock.notify_all()

    def delete(self, kind, namespace, name):
        with self._lock:
            plural = PLURALS[kind]
            obj = self._objects[plural].pop((namespace, name))
            self._version += 1
            obj = copy.deepcopy(obj)
            obj["metadata"]["resourceVersion"] = str(self._version)
            self._events.append((self._version, plural, "DELETED", obj))
            self._lock.notify_all()

    def forget(self, kind, namespace, name):
        """As a server that came back with an older history: nobody is told."""
        with self._lock:
            del self._objects[PLURALS[kind]][(namespace, name)]

    def get(self, kind, namespace, name):
        with self._lock:
            return copy.deepcopy(self._objects[PLURALS[kind]][(namespace, name)])

    def lease(self, namespace="default", name="sluice-status"):
        with self._lock:
            return copy.deepcopy(self.leases.get((namespace, name)))

    def put_lease(self, spec, namespace="default", name="sluice-status"):
        """Somebody else writes it."""
        with self._lock:
            self._version += 1
            self.leases[(namespace, name)] = {"kind": "Lease", "metadata": {
                "name": name, "namespace": namespace, "resourceVersion": str(self._version)}, "spec": spec}

    def compact(self):
        """Watches from an older version get 410."""
        with self._lock:
            self._events.clear()
            self._version += 1
            self._compacted = self._version

    def cut(self):
        """All watches end in the middle."""
        with self._lock:
            self._epoch += 1
            self._lock.notify_all()

    def fault(self, *answers):
        """The next requests are answered so: bytes, a status, or None for a close without an answer."""
        with self._lock:
            self._faults.extend(answers)

    def make_pages(self, limit=500):
        """Lists that cost the server nothing from now on; what changes later is in the watches alone."""
        self.compact()
        with self._lock:
            for plural, objects in self._objects.items():
                items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")}
                         for _, o in sorted(objects.items())]
                for start in range(0, len(items), limit):
                    meta = {"resourceVersion": str(self._version)}
                    if start + limit < len(items):
                        meta["continue"] = str(start + limit)
                    self.pages[plural, start] = json.dumps(
                        {"kind": "List", "metadata": meta, "items": items[start:start + limit]}).encode()

    def count(self, path=None, **query):
        with self._lock:
            return sum(1 for _, p, q in self.requests
                       if (path is None or p == path) and all(q.get(k) == v for k, v in query.items()))

    def serve(self, plural, *versions):
        """Its CRD has these now: watches end, as those of a CRD do that changes."""
        self.versions[plural] = set(versions)
        self.cut()

    # answers

    def _collection(self, path):
        """(plural, version, the namespace that it is limited to or None); None: there is no such collection."""
        match = COLLECTION.match(path)
        plural = match and match[4]
        if plural in GROUPS and plural not in self.absent and _group(plural) == match[1] and \
                match[2] in self.versions[plural]:
            return plural, f"{match[1][len('/apis/'):]}/{match[2]}".lstrip("/"), match[3]

    def _discover(self, group, version):
        """The document of a group, or of one of its versions; None: nothing of it is served."""
        served = {p: self.versions[p] for p in GROUPS if _group(p) == f"/apis/{group}" and p not in self.absent}
        if version:
            kinds = {plural: kind for kind, plural in PLURALS.items()}
            resources = [{"name": name, "kind": kinds[p]} for p, v in sorted(served.items()) if version in v
                         for name in (p, p + "/status")]
            return resources and {"kind": "APIResourceList", "groupVersion": f"{group}/{version}", "resources": resources}
        versions = sorted({v for of in served.values() for v in of})
        return versions and {"kind": "APIGroup", "name": group, "versions": [
            {"groupVersion": f"{group}/{v}", "version": v} for v in versions]}

    def _handler(api):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body):
                self.answer_bytes(status, json.dumps(body).encode())

            def answer_bytes(self, status, data):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def refuse(self, status, message):
                self.answer(status, {"kind": "Status", "status": "Failure", "code": status, "message": message})

            def chunk(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                with api._lock:
                    api.requests.append(("GET", url.path, query))
                    fault = api._faults.pop(0) if api._faults else False
                discovery = DISCOVERY.match(url.path)
                document = discovery and api._discover(*discovery.groups())
                if fault is not False:
                    self.misbehave(fault)
                elif self.headers.get("Authorization") != f"Bearer {api.token}":
                    self.refuse(401, "Unauthorized")
                elif LEASES.match(url.path):
                    self.about_lease(url.path)
                elif discovery and discovery[1] in api.group_faults:
                    self.refuse(api.group_faults[discovery[1]], "as the test wants it")
                elif document:
                    self.answer(200, document)
                elif not api._collection(url.path):
                    self.refuse(404, "the server could not find the requested resource")
                elif query.get("watch"):
                    self.watch(*api._collection(url.path), query)
                else:
                    self.list(*api._collection(url.path), query)

            def body(self):
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def do_PUT(self):
                self.about_lease(self.path, self.body())

            def about_event(self, name):
                body = self.body()
                if api.event_fault:
                    self.refuse(api.event_fault, "as the test wants it")
                    return
                with api._lock:
                    event = api.events.setdefault(name or body["metadata"]["name"], {})
                    event.update(body)
                self.answer(200 if name else 201, event)

            def do_POST(self):
                if EVENTS.match(self.path):
                    self.about_event(None)
                    return
                if self.path != MESHES:
                    self.do_PUT()
                    return
                mesh = self.body()
                with api._lock:
                    known = _key(mesh) in api._objects["xmeshes"]
                if known or "xmeshes" in api.absent:
                    self.refuse(409 if known else 404, "not this time")
                    return
                mesh["metadata"]["generation"] = 1
                mesh["status"] = copy.deepcopy(PENDING)
                api.created.append(mesh)
                api.apply(mesh)
                self.answer(201, api.get("XMesh", "", mesh["metadata"]["name"]))

            def about_lease(self, path, new=None):
                namespace, name = LEASES.match(path).groups()
                if api.lease_fault:
                    self.refuse(api.lease_fault, "as the test wants it")
                    return
                with api._lock:
                    old = api.leases.get((namespace, name or new["metadata"]["name"]))
                if not new:
                    self.answer(200, old) if old else self.refuse(404, "not found")
                elif old and new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
                    self.refuse(409, "the object has been modified")
                else:
                    api.put_lease(new["spec"], namespace, new["metadata"]["name"])
                    self.answer(200, api.lease(namespace, new["metadata"]["name"]))

            def do_PATCH(self):
                if EVENTS.match(self.path):
                    self.about_event(EVENTS.match(self.path)[2])
                    return
                patch = self.body()
                prefix, namespace, plural, name = STATUS.match(self.path).groups()
                served = api._collection(f"{prefix}/{plural}")
                assert self.headers["Content-Type"] == "application/merge-patch+json"
                if api.before_patch:
                    hook, api.before_patch = api.before_patch, None
                    hook(copy.deepcopy(api._objects[plural][(namespace or "", name)]))
                with api._lock:
                    obj = copy.deepcopy(api._objects[plural].get((namespace or "", name)))
                    fault = api.patch_faults.pop(0) if api.patch_faults else None
                if not obj or not served:
                    status = 404
                elif fault:
                    status = fault
                elif patch["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                    status = 409
                else:
                    status = 200
                with api._lock:
                    api.patches.append((name, patch, status))
                if status != 200:
                    self.refuse(status, "not this time")
                    return
                obj["status"] = {**obj.get("status", {}), **patch["status"]}
                api.apply(obj)
                self.answer(200, obj)

            def misbehave(self, fault):
                self.close_connection = True
                if isinstance(fault, int):
                    self.refuse(fault, "as the test wants it")
                elif fault:
                    self.wfile.write(fault)

            def list(self, plural, version, namespace, query):
                limit = int(query.get("limit", 500))
                limit = min(limit, api.page or limit)
                start = int(query.get("continue", "0"))
                if (plural, start) in api.pages:
                    self.answer_bytes(200, api.pages[plural, start])
                    return
                with api._lock:
                    items = [o for _, o in sorted(api._objects[plural].items())
                             if _selected(o, namespace, query)]
                    version = str(api._version)
                meta = {"resourceVersion": version}
                if start + limit < len(items):
                    meta["continue"] = str(start + limit)
                page = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")}
                        for o in items[start:start + limit]]
                self.answer(200, {"kind": "List", "metadata": meta, "items": page})

            def watch(self, plural, version, namespace, query):
                at = int(query["resourceVersion"])
                with api._lock:
                    epoch, gone = api._epoch, at < api._compacted
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                if gone:
                    self.chunk(json.dumps({"type": "ERROR", "object": {
                        "kind": "Status", "code": 410, "message": "too old resource version"}}).encode() + b"\n")
                    self.chunk(b"")
                    return
                while True:
                    with api._lock:
                        api._lock.wait_for(lambda: api._epoch != epoch or api._version > at,
                                           api.bookmark_s)
                        if api._epoch != epoch:
                            self.close_connection = True
                            return
                        new = [e for e in api._events if e[0] > at and e[1] == plural]
                        at = api._version
                    for _, _, kind, obj in new:
                        if _selected(obj, namespace, query):
                            obj = {**obj, "apiVersion": version}
                            self.chunk(json.dumps({"type": kind, "object": obj}).encode() + b"\n")
                            api.told[plural] = time.monotonic()
                    bookmark = {"kind": "Bookmark", "metadata": {"resourceVersion": str(at)}}
                    self.chunk(json.dumps({"type": "BOOKMARK", "object": bookmark}).encode() + b"\n")
        return Handler
