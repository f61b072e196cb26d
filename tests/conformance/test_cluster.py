# SPDX-License-Identifier: Apache-2.0
"""Two nodes of a real cluster, from `kubectl apply -k` on: clients and backends on different ones, drained nodes and
upgraded agents under load, and a stand-in for a CNI that enforces NetworkPolicy."""
import json
import os

import pytest

import quickstart
import sluice
import suite
from sluice_lab.cluster import Cluster, remove

from harness import load, manifests as m, rawhttp
from harness.agent import build_dir
from harness.wait import hold_for, wait_for

NS = "store"  # the quickstart has a namespace shop
NAME = f"sluice-test-{os.getpid()}"
PORT = 3000  # of echo-basic


def workload(name, image, node=None, replicas=1, ns=NS):
    """A Deployment. Whoever is told to go serves on until everybody has heard of it."""
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                 "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                         {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}]}
    if "echo" in image:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 5}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": ns},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": spec}}}


def service(name, app, ns=NS):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
            "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": PORT,
                                                          "appProtocol": "http"}]}}


class World:
    """The cluster, what is in it, and clients of ours inside its Pods."""

    def __init__(self, cluster):
        self.cluster, self.api = cluster, cluster.client
        self.image = sluice.make_image(build_dir(), cluster.folder)

    def populate(self):
        """Before Sluice is there: Pods that run already are governed too."""
        echo, toolbox = self.cluster.api.store.image("echo-basic"), self.cluster.api.store.image("toolbox")
        self.api.create(
            m.namespace(NS), m.namespace("other"),
            workload("one", echo, "n1"), workload("two", echo, "n2"), workload("many", echo, replicas=4),
            workload("client", toolbox, "n1"), workload("client-2", toolbox, "n2"),
            workload("alien", toolbox, "n1", ns="other"),
            *(service(name, name) for name in ("one", "two", "many")), service("web", "many"))
        for namespace in (NS, "other"):
            for deployment in self.api.list("Deployment", namespace):
                self.cluster.rollout(namespace, "deployment/" + deployment["metadata"]["name"])

    def pod(self, app, ns=NS):
        found, = [p for p in self.api.list("Pod", ns, labelSelector=f"app={app}")
                  if "deletionTimestamp" not in p["metadata"]]
        return found

    def entry(self, app, ns=NS):
        pod = self.pod(app, ns)
        return next(n for n in self.cluster.nodes if n.name == pod["spec"]["nodeName"]).entry(pod)

    def address(self, name, ns=NS):
        return self.api.get("Service", ns, name)["spec"]["clusterIP"], 80

    def get(self, app, service, target="/", ns=NS):
        return self.entry(app, ns).call(rawhttp.fetch, self.address(service), "GET", target)

    def served_by(self, app, service, target="/", ns=NS):
        """The Deployment of the Pod that answers, or the status."""
        r = self.get(app, service, target, ns)
        return json.loads(r.body)["pod"].rsplit("-", 2)[0] if r.status == 200 else r.status

    def route(self, name, rules, parents, ns=NS):
        self.api.apply(m.route(name, rules, parents, ns))

    def unroute(self, name, ns=NS):
        self.api.delete("HTTPRoute", ns, name)

    def loads(self, *apps):
        """To Service web, from each over new connections, and over kept ones."""
        tasks = [self.entry(app).spawn(load.run, self.address("web"), 2, keep_alive)
                 for app in apps for keep_alive in (False, True)]
        for task in tasks:
            task.next_report()
        return tasks


def end(tasks):
    """No request of theirs failed."""
    results = [task.stop_and_result(60) for task in tasks]
    for result in results:
        assert result.errors == [] and set(result.statuses) == {200}, results
    return sum(r.n for r in results)


@pytest.fixture(scope="module")
def world():
    cluster = Cluster(NAME, 2, quiet=True)
    try:
        world = World(cluster.up())
        world.populate()
        sluice.install(cluster, world.image)
        yield world
    finally:
        remove(NAME)


@pytest.fixture
def routed(world):
    """Service web's rules: what they do tells whether requests go through an agent."""
    world.route("web", [m.rule(m.path("/one"), "one"), m.rule(m.path("/two"), "two"), m.rule(m.path("/"), "many")], ["web"])
    for app in ("client", "client-2"):
        wait_for(lambda app=app: world.served_by(app, "web", "/two") == "two", what=f"the route at {app}")
    yield world
    world.unroute("web")


@pytest.mark.parametrize("client", ["client", "client-2"])
def test_backends_of_both_nodes(routed, client):
    assert [routed.served_by(client, "web", target) for target in ("/one", "/two", "/")] == ["one", "two", "many"]


def test_a_consumer_s_route_counts_in_its_namespace_only(routed):
    routed.route("theirs", [m.rule(m.path("/"), m.backend("two", ns=NS),
                                   m.response_headers(set={"X-Consumer": "yes"}))],
                 [m.parent("web", ns=NS)], ns="other")
    wait_for(lambda: routed.get("alien", "web", ns="other").get("X-Consumer") == "yes", what="the consumer's route")
    assert routed.served_by("alien", "web", "/one", ns="other") == "two"
    assert routed.served_by("client", "web", "/one") == "one" and not routed.get("client", "web").get("X-Consumer")
    routed.unroute("theirs", "other")


def test_conditions_are_in_the_cluster(routed):
    def accepted():
        parent, = routed.api.get("HTTPRoute", NS, "web")["status"]["parents"]
        return {c["type"]: c["status"] for c in parent["conditions"]} == {"Accepted": "True", "ResolvedRefs": "True"}
    wait_for(accepted, what="the conditions")


def test_sluicectl_asks_all_nodes(routed):
    def asked():
        """Just after a CRD was served anew, its lists may still be refused: said as an error, until the next try."""
        rows = sluice.ctl(routed.cluster, "status", "-k", "-o", "json")["nodes"]
        assert [(n["node"], n["ready"], n["answer"]["config"]["errors"]) for n in rows] == [
            ("n1", True, []), ("n2", True, [])]
        return rows

    rows = wait_for(asked, what="both nodes to be without an error")
    assert {n["pod"]: n["node"] for n in rows} == agents(routed)
    assert all("web" in [r["name"] for r in n["answer"]["routes"]] for n in rows)


@pytest.mark.parametrize("client", ["client", "client-2"])
def test_sluicectl_explains_what_becomes_of_a_pod_s_request(routed, client):
    """Asked of the agent on the Pod's own node: no other knows the Pod."""
    name = routed.pod(client)["metadata"]["name"]
    for target, backend in (("/one", "one"), ("/two", "two"), ("/", "many")):
        answer = sluice.ctl(routed.cluster, "explain", "-k", "-f", f"{NS}/{name}", f"http://web.{NS}{target}", "-o", "json")
        assert answer["pod"] == name and answer["namespace"] == NS, answer
        assert [b["name"] for b in answer["backends"]] == [f"{NS}/{backend}:80"], answer


def agents(world):
    return {p["metadata"]["name"]: p["spec"]["nodeName"] for p in sluice.pods(world.cluster)
            if "deletionTimestamp" not in p["metadata"]}


def test_agents_are_replaced_under_load(routed):
    before = agents(routed)
    tasks = routed.loads("client", "client-2")
    for _ in range(2):
        routed.cluster.kubectl("-n", sluice.NAMESPACE, "rollout", "restart", sluice.DAEMONSET)
        routed.cluster.rollout(sluice.NAMESPACE, sluice.DAEMONSET)
    wait_for(lambda: len(sluice.pods(routed.cluster)) == 2, 30, what="the old agents to go")
    print(f"two rollouts: {end(tasks)} requests")
    after = agents(routed)
    assert sorted(after.values()) == ["n1", "n2"] and not before.keys() & after.keys()
    for name in after:
        assert "took over connections=" in routed.cluster.kubectl("-n", sluice.NAMESPACE, "logs", name)
    # Nobody was started again after it had handed over.
    assert all(c["restartCount"] == 0 for p in sluice.pods(routed.cluster) for c in p["status"]["containerStatuses"])
    assert routed.served_by("client", "web", "/two") == "two"


def test_a_node_is_drained_under_load(routed):
    tasks = routed.loads("client")
    routed.cluster.kubectl("drain", "n2", "--ignore-daemonsets", "--force", "--pod-selector=app in (many,two)")
    assert {p["spec"]["nodeName"] for p in routed.api.list("Pod", NS, labelSelector="app=many")} == {"n1"}
    routed.cluster.rollout(NS, "deployment/many")
    routed.cluster.kubectl("uncordon", "n2")
    print(f"a drained node: {end(tasks)} requests")
    routed.cluster.rollout(NS, "deployment/two")
    wait_for(lambda: routed.served_by("client", "web", "/two") == "two", what="the Pod that came back")


def test_who_may_not_reach_a_pod_still_may_not(routed):
    """Rules on a Pod's interface, as a CNI with NetworkPolicy has them, see the client's own address."""
    client, denied = routed.pod("client"), routed.pod("client-2")
    backend = routed.entry("one")

    def rule(action):
        for pod, verdict in ((client, ["ACCEPT"]), (denied, ["REJECT", "--reject-with", "tcp-reset"])):
            backend.run(["iptables", "-w", action, "INPUT", "-p", "tcp", "--dport", str(PORT), "-s", pod["status"]["podIP"],
                         "-j", *verdict])
    assert routed.served_by("client-2", "web", "/one") == "one"
    rule("-A")
    try:
        # A connection to the Pod that was made before is no new one.
        wait_for(lambda: routed.served_by("client-2", "web", "/one") == 503, what="the refusal")
        assert routed.served_by("client", "web", "/one") == "one"
        hold_for(lambda: routed.served_by("client-2", "web", "/one") == 503, 0.5, 0.1, "the refusal")
        assert routed.served_by("client-2", "web", "/two") == "two"
    finally:
        rule("-D")
    wait_for(lambda: routed.served_by("client-2", "web", "/one") == "one", what="the Pod to be reached again")


def test_the_official_suite(world, tmp_path):
    """One run, as suite.py does it."""
    status, verdicts, seconds = suite.run_suite(world.cluster, str(tmp_path / "run"), build_dir(), [])
    print(f"{len(verdicts)} mesh tests in {seconds:.0f} s")
    assert suite.judge(status, verdicts) is None, (tmp_path / "run" / "suite.log").read_text()[-20000:]
    assert len(verdicts) == 23


def test_taken_away_everything_goes_on_without_it(routed):
    """Last, as the others need it."""
    tasks = routed.loads("client")
    routed.cluster.kubectl("delete", "-k", os.path.join(sluice.ROOT, "manifests", "kubernetes", "base"))
    wait_for(lambda: not sluice.pods(routed.cluster), 60, what="the agents to go")
    # Kept connections end with the agent that had them.
    fresh, kept = (task.stop_and_result(60) for task in tasks)
    assert fresh.errors == [] and set(fresh.statuses) == {200}, fresh
    assert len(kept.errors) <= 2, kept
    assert routed.served_by("client", "web", "/one") == "many"


def test_the_quickstart(world, tmp_path):
    """All of docs/quickstart.md, from a cluster without Sluice to a cluster without Sluice."""
    reader = quickstart.Reader(world.cluster, build_dir(), str(tmp_path))
    reader.prepare_images()
    reader.follow()
    assert not sluice.pods(world.cluster)
    for node in world.cluster.nodes:
        assert "sluice" not in node.run("ls", "/sys/fs/bpf").split()
