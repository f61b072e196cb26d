# SPDX-License-Identifier: Apache-2.0
"""XBackends of a cluster: a CRD that comes later, Pods of other nodes by their labels, conditions."""
import pytest

from harness import manifests as m, rawhttp
from harness.kube_api import Api
from harness.wait import wait_for

LABELS = {"app": "pay", "example.com/tier": "one"}


@pytest.fixture
def api(world, fabric):
    api = Api(fabric.node, world.folder)
    yield api.start()
    api.stop()


def answer(world):
    def run():
        with rawhttp.Conn(world.addr("web")) as c:
            return c.request()
    return world.client.call(run)


def server(world):
    got = answer(world)
    return got.seen.pod if got.status == 200 else got.status


def elsewhere(pod, labels):
    p = m.pod(pod, labels)
    p["spec"]["nodeName"] = "node-2"
    return p


def generation(world):
    return world.ctl("status")["config"]["generation"]


def reasons(api, kind, name, field):
    entries = api.get(kind, "shop", name).get("status", {}).get(field, [])
    return [{c["type"]: c["reason"] for c in e["conditions"]} for e in entries]


def test_pods_of_other_nodes_are_followed_by_their_labels(world, api):
    api.absent.add("xbackends")
    backend = m.xbackend("pay", labels=LABELS, port=8080)
    backend["metadata"]["generation"] = 1
    pods = [m.pod(p) for p in world.pods.values() if p not in (world.a, world.b)]
    route = m.route("r", [m.rule(backends=m.xref("pay"))])
    route["metadata"]["generation"] = 1
    api.apply(m.namespace("shop"), *pods, elsewhere(world.a, LABELS), elsewhere(world.b, {"app": "pay"}),
              *world.service_objects("web", [world.c]), route, backend)
    world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self", node="node-1")
    wait_for(lambda: reasons(api, "HTTPRoute", "r", "parents") == [{"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}],
             what="a route without its backend")
    api.absent.discard("xbackends")
    wait_for(lambda: server(world) == world.a.name, 20, what="the Pod with both labels")
    wait_for(lambda: reasons(api, "XBackend", "pay", "ancestors") == [{"Accepted": "Accepted"}], what="its condition")
    entry = api.get("XBackend", "shop", "pay")["status"]["ancestors"][0]
    assert (entry["ancestorRef"], entry["controllerName"]) == (
        {"group": "", "kind": "Service", "namespace": "shop", "name": "web"}, "sluice.dev/mesh")
    # One more, one that goes, and the first's end.
    api.apply(elsewhere(world.b, LABELS))
    api.delete("Pod", "shop", world.a.name)
    wait_for(lambda: server(world) == world.b.name, what="the other Pod")
    api.delete("HTTPRoute", "shop", "r")
    wait_for(lambda: reasons(api, "XBackend", "pay", "ancestors") == [], what="nobody who uses it")
    assert not api.count("/api/v1/pods") or api.count("/api/v1/pods") == api.count("/api/v1/pods",
                                                                                   fieldSelector="spec.nodeName=node-1")


def test_a_pod_of_this_node_stays_known_when_nobody_selects_it(world, api):
    backend = m.xbackend("pay", labels=LABELS, port=8080)
    pods = [m.pod(p, LABELS if p is world.client else None) for p in world.pods.values()]
    api.apply(m.namespace("shop"), *pods, *world.service_objects("web", [world.a]), backend,
              m.route("r", [m.rule(backends="web")]))
    world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self", node="node-1")
    wait_for(lambda: api.count("/api/v1/namespaces/shop/pods"), what="the Pods that are selected")
    wait_for(lambda: server(world) == world.a.name, what="an answer")
    wait_for(lambda: reasons(api, "HTTPRoute", "r", "parents"), what="an agent that has settled")
    before = generation(world)
    api.delete("XBackend", "shop", "pay")
    wait_for(lambda: generation(world) > before, what="another configuration")
    assert world.client.name in {n.get("pod", "").partition("/")[2] for n in world.ctl("netns")["netns"]}
