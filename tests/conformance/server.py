# SPDX-License-Identifier: Apache-2.0
"""A real API server with the methods of tests/e2e's harness/kube_api.py, so that cases are shared: that one misbehaves on
demand, this one is what it pretends to be."""
import base64
import copy
import json
import signal
import uuid

from sluice_lab.client import Refused

from harness.wait import wait_for

GATEWAY_KEY = "/registry/gateway.networking.k8s.io/"
BATCH = 100


class Server:
    def __init__(self, api):
        self.api, self.client = api, api.client

    def start(self):
        self.api.start_server()
        self.client = self.api.client
        return self

    def stop(self):
        """By force: asked to end, it would wait a minute for the watches to end first."""
        self.api.stop("kube-apiserver", signal.SIGKILL)

    def restart(self):
        self.stop()
        self.start()

    def kubeconfig(self):
        return self.api.kubeconfig

    def apply(self, *objects):
        for obj in objects:
            obj = copy.deepcopy(obj)
            meta, status = obj["metadata"], obj.pop("status", None)
            for given in ("uid", "resourceVersion", "generation"):
                meta.pop(given, None)
            if obj["kind"] == "Service" and len(obj["spec"]["clusterIPs"]) > 1:
                obj["spec"]["ipFamilyPolicy"] = "RequireDualStack"
            self.client.apply(obj)
            if status:
                self.client.patch(obj["kind"], meta.get("namespace"), meta["name"], {"status": status}, "status")

    def get(self, kind, namespace, name):
        return self.client.get(kind, namespace, name)

    def delete(self, kind, namespace, name):
        self.client.delete(kind, namespace, name)

    def lease(self, namespace="default", name="sluice-status"):
        try:
            return self.get("Lease", namespace, name)
        except Refused as e:
            assert e.status == 404, e
            return None

    def put_lease(self, spec, namespace="default", name="sluice-status"):
        """Somebody else writes it."""
        self.client.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                           "metadata": {"name": name, "namespace": namespace}, "spec": spec})

    def clear(self, *namespaces):
        """What a test left, so that the next one can begin."""
        for namespace in namespaces:
            for kind in ("HTTPRoute", "EndpointSlice", "Service"):
                self._delete_all(kind, namespace)
            self._delete_all("Pod", namespace, {"gracePeriodSeconds": 0})
        self._delete_all("Lease", "default")

    def _delete_all(self, kind, namespace, options=None):
        for obj in self.client.list(kind, namespace):
            self.client.request("DELETE", self.client.path(kind, namespace, obj["metadata"]["name"]), options)

    # by way of etcd

    def plant(self, routes):
        """HTTPRoutes, as the server would store them: it takes a minute to check some thousands, and is not what is tested."""
        for at in range(0, len(routes), BATCH):
            self.api.etcd("kv/txn", {"success": [
                {"requestPut": {"key": _base64(self._key(r)), "value": _base64(json.dumps(_stored(r)))}}
                for r in routes[at:at + BATCH]]})

    def uproot(self, namespace):
        key = f"{GATEWAY_KEY}httproutes/{namespace}/"
        self.api.etcd("kv/deleterange", {"key": _base64(key), "range_end": _base64(key[:-1] + "0")})
        wait_for(lambda: not self.client.list("HTTPRoute", namespace, limit=1), 30, what="the server to know of it")

    @staticmethod
    def _key(route):
        return f"{GATEWAY_KEY}httproutes/{route['metadata']['namespace']}/{route['metadata']['name']}"


def _stored(route):
    route = copy.deepcopy(route)
    route["metadata"].update({"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"})
    return route


def _base64(text):
    return base64.b64encode(text.encode()).decode()
