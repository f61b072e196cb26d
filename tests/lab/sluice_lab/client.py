# SPDX-License-Identifier: Apache-2.0
"""A client of the API server for tests: objects as dictionaries, over TLS, from another network namespace."""
import http.client
import json
import ssl
import threading
import urllib.parse

from harness import netns

# kind: (path of the group, plural, are they in namespaces)
KINDS = {
    "Namespace": ("/api/v1", "namespaces", False), "Node": ("/api/v1", "nodes", False),
    "Service": ("/api/v1", "services", True), "Pod": ("/api/v1", "pods", True),
    "ConfigMap": ("/api/v1", "configmaps", True), "Secret": ("/api/v1", "secrets", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "Deployment": ("/apis/apps/v1", "deployments", True), "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    **{kind: ("/apis/gateway.networking.k8s.io/v1", kind.lower() + "s", True)
       for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "ReferenceGrant")},
    **{kind: ("/apis/policy.sluice.dev/v1alpha1", plural, True)
       for kind, plural in (("TrafficPolicy", "trafficpolicies"), ("FaultInjection", "faultinjections"))}}


class Refused(OSError):
    """As urllib has it, so that who waits for an answer takes a refusal for "not yet"."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: {status} {body.get('message', body)}")
        self.status, self.body = status, body


class _Connection(http.client.HTTPSConnection):
    """A socket belongs to the network namespace of the thread that made it."""

    def __init__(self, namespace, *args, **kw):
        super().__init__(*args, **kw)
        self._namespace = namespace

    def connect(self):
        failed = []

        def run():
            try:
                if self._namespace:
                    netns.setns(self._namespace)
                super(_Connection, self).connect()
            except OSError as e:
                failed.append(e)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]


class Client:
    """Not for several threads at a time."""

    def __init__(self, address, port, pki, name="admin", namespace=None):
        self._tls = ssl.create_default_context(cafile=pki.path("ca.crt"))
        self._tls.load_cert_chain(pki.path(name + ".crt"), pki.path(name + ".key"))
        self._where = (namespace, address, port)
        self._connection = None

    def request(self, method, path, body=None, kind="application/json"):
        """The answer's object. A connection that has gone is made anew, once."""
        data = None if body is None else json.dumps(body)
        for last in (False, True):
            try:
                if not self._connection:
                    self._connection = _Connection(*self._where, context=self._tls, timeout=30)
                self._connection.request(method, path, data, {"Content-Type": kind} if data else {})
                response = self._connection.getresponse()
                text = response.read()
                break
            except (OSError, http.client.HTTPException):
                self.close()
                if last:
                    raise
        answer = json.loads(text) if text[:1] == b"{" else {"message": text.decode(errors="replace")}
        if response.status >= 300:
            raise Refused(method, path, response.status, answer)
        return answer

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    @staticmethod
    def path(kind, namespace=None, name=None, sub=None):
        prefix, plural, namespaced = KINDS[kind]
        parts = [prefix] + (["namespaces", namespace] if namespaced and namespace else []) + [plural]
        return "/".join(parts + [p for p in (name, sub) if p])

    def _path_of(self, obj, sub=None):
        meta = obj["metadata"]
        return self.path(obj["kind"], meta.get("namespace"), meta["name"], sub)

    def apply(self, *objects, manager="test"):
        """Server-side, by force. The last answer."""
        query = urllib.parse.urlencode({"fieldManager": manager, "force": "true"})
        answer = None
        for obj in objects:
            answer = self.request("PATCH", f"{self._path_of(obj)}?{query}", obj, "application/apply-patch+yaml")
        return answer

    def create(self, *objects):
        """Quicker than apply(), for what is not there yet."""
        for obj in objects:
            self.request("POST", self.path(obj["kind"], obj["metadata"].get("namespace")), obj)

    def try_create(self, obj):
        """Nothing is stored, and a field that the schema does not have is refused too."""
        path = self.path(obj["kind"], obj["metadata"].get("namespace"))
        self.request("POST", path + "?dryRun=All&fieldValidation=Strict", obj)

    def get(self, kind, namespace, name):
        return self.request("GET", self.path(kind, namespace, name))

    def list(self, kind, namespace=None, **query):
        path = self.path(kind, namespace)
        return self.request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))["items"]

    def patch(self, kind, namespace, name, patch, sub=None):
        return self.request("PATCH", self.path(kind, namespace, name, sub), patch, "application/merge-patch+json")

    def delete(self, kind, namespace, name):
        return self.request("DELETE", self.path(kind, namespace, name))
