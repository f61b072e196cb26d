# SPDX-License-Identifier: Apache-2.0
"""BackendTLSPolicy of a cluster: the ConfigMaps and Secrets that it names are followed one by one."""
import json

import pytest

from harness import manifests as m, rawhttp, tls
from harness.kube_api import Api
from harness.tls import HOST, config_map, policy
from harness.wait import wait_for


@pytest.fixture(scope="module")
def ca(fabric):
    return tls.CA(fabric.folder, "kube-ca")


@pytest.fixture
def api(world, fabric):
    api = Api(fabric.node, world.folder)
    yield api.start()
    api.stop()


@pytest.fixture
def backend(world, ca):
    """Speaks TLS with clients that have a certificate of the authority, and nobody else."""
    server = tls.Server(world.a, 7101, ca.issue(f"DNS:{HOST}"), client_ca=ca.path)
    yield server
    server.stop()


def secret(name, cert, key):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"},
            "stringData": {"tls.crt": cert, "tls.key": key}}


def ask(world):
    def run():
        with rawhttp.Conn(world.addr("web")) as c:
            return c.request()
    return world.client.call(run)


def refused(world, why):
    answer = ask(world)
    return answer.status == 503 and why in answer.body.decode()


def accepted(api, name):
    """(status, reason) of each condition of our only entry, by its type."""
    ancestors = api.get("BackendTLSPolicy", "shop", name).get("status", {}).get("ancestors", [])
    return {c["type"]: (c["status"], c["reason"]) for a in ancestors for c in a["conditions"]}


def client_of(world):
    answer = ask(world)
    return answer.status == 200 and json.loads(answer.body)["client"]


def test_what_a_policy_names_is_followed(world, api, ca, backend, fabric):
    other = tls.CA(fabric.folder, "kube-other-ca")
    p = policy("p", "one", options={"sluice.dev/client-certificate": "me"})
    p["metadata"]["generation"] = 1
    api.apply(m.namespace("shop"), *[m.pod(x) for x in world.pods.values()], *world.service_objects("web", [world.a]),
              *world.service_objects("one", [world.a], [m.port(443, 7101, "tls")], vip=("10.96.0.90", "fd00:96::90")),
              m.route("r", [m.rule(backends=m.backend("one", 443))]), config_map("ca", ca.pem), config_map("unnamed", "x"),
              secret("me", *tls.parts_of(ca.issue("DNS:x", subject="first"))), p)
    world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self")
    wait_for(lambda: client_of(world) == "first", what="the client's certificate")
    wait_for(lambda: accepted(api, "p").get("Accepted") == ("True", "Accepted"), what="Accepted")
    # Another certificate, another authority, none, and the first again: each without a restart.
    api.apply(secret("me", *tls.parts_of(ca.issue("DNS:x", subject="second"))))
    wait_for(lambda: client_of(world) == "second", what="the Secret's change")
    api.apply(config_map("ca", other.pem))
    wait_for(lambda: refused(world, "certificate"), what="the other authority")
    api.delete("ConfigMap", "shop", "ca")
    wait_for(lambda: refused(world, "BackendTLSPolicy"), what="the missing ConfigMap")
    wait_for(lambda: accepted(api, "p") == {"Accepted": ("False", "NoValidCACertificate"),
                                            "ResolvedRefs": ("False", "InvalidCACertificateRef")}, what="its conditions")
    api.apply(config_map("ca", "nothing here"))
    wait_for(lambda: refused(world, "BackendTLSPolicy"), what="a ConfigMap without certificates")
    api.apply(config_map("ca", other.pem + ca.pem))
    wait_for(lambda: client_of(world) == "second", what="the authority again")
    wait_for(lambda: accepted(api, "p").get("Accepted") == ("True", "Accepted"), what="Accepted again")
    api.delete("Secret", "shop", "me")
    wait_for(lambda: accepted(api, "p").get("Accepted") == ("False", "Invalid"), what="the missing Secret")
    assert refused(world, "BackendTLSPolicy")
    # No others are any business of ours.
    assert not api.count("/api/v1/configmaps") and not api.count("/api/v1/secrets")
    assert api.count("/api/v1/namespaces/shop/configmaps") == api.count("/api/v1/namespaces/shop/configmaps",
                                                                        fieldSelector="metadata.name=ca")


def test_a_cluster_trust_bundle_is_told_to_be_none_of_ours(world, api):
    p = policy("p", "web", ca=None, caCertificateRefs=[
        {"group": "certificates.k8s.io", "kind": "ClusterTrustBundle", "name": "roots"}])
    p["metadata"]["generation"] = 1
    api.apply(m.namespace("shop"), *world.service_objects("web", [world.a]), p)
    world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self")
    wait_for(lambda: accepted(api, "p") == {"Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", "InvalidKind")},
             what="its conditions")
