# SPDX-License-Identifier: Apache-2.0
"""A whole cluster: etcd, API server, controllers, scheduler, DNS, and nodes on a bridge, on one machine."""
import os
import re
import shutil
import sys
import time

from harness import netns
from harness.wait import wait_for

from . import LAB, place, store
from .api import SERVICES, Api
from .node import NODE_NETWORK, POD_NETWORK, Node


def run_folder(name):
    return os.path.join(store.cache(), "run", name)


def remove(name):
    """All of a lab, whoever started it and however far it came: nothing has to be remembered for it."""
    place.Groups(name).remove()
    for namespace in os.listdir(place.NETNS) if os.path.isdir(place.NETNS) else ():
        if re.fullmatch(re.escape(name) + r"-(cp|n\d+)", namespace):
            place.Namespace(namespace).remove()
    shutil.rmtree(run_folder(name), ignore_errors=True)


class Cluster:
    """name: of its folder, control group and network namespaces; several may be there at a time."""

    def __init__(self, name="sluice-lab", n_nodes=1, binaries=None, quiet=False):
        self.name, self.quiet = name, quiet
        self.folder = run_folder(name)
        self.groups = place.Groups(name)
        self.plane_groups = place.Groups(f"{name}/cp")
        self.plane = place.Namespace(f"{name}-cp")
        self.api = Api(binaries or store.Store.open(), self.folder, f"{NODE_NETWORK}.1", namespace=self.plane.path,
                       groups=self.plane_groups)
        self.nodes = [Node(self, i + 1) for i in range(n_nodes)]
        self.client = None

    @classmethod
    def of(cls, name):
        """One that another process started."""
        if not os.path.isdir(run_folder(name)):
            raise store.Missing(f"no lab {name} is up")
        n = sum(os.path.exists(os.path.join(run_folder(name), f"n{i}", "pid")) for i in range(1, 100))
        cluster = cls(name, n, quiet=True)
        cluster.api.attach()
        cluster.client = cluster.api.client
        return cluster

    def _say(self, what):
        if not self.quiet:
            print(f"{time.monotonic() - self._begin:5.1f} s  {what}", file=sys.stderr, flush=True)

    def up(self, channel="standard"):
        self._begin = time.monotonic()
        self._prepare_network()
        self.groups.create()
        self.plane_groups.create()
        self.api.start()
        self.client = self.api.client
        self._say("API server ready")
        self._start_controllers()
        for node in self.nodes:
            node.register()
            node.start()
        with open(os.path.join(LAB, "coredns.yaml")) as f:
            self.kubectl("apply", "-f", "-", input=f.read())
        wait_for(lambda: all(self.ready("Node", None, n.name) for n in self.nodes), 120, 0.2, what="all nodes to be ready")
        self._say("nodes ready")
        self.rollout("kube-system", "deployment/coredns")
        self._say("DNS ready")
        if channel:
            self.api.install_crds(channel)
            self._say(f"CRDs, {channel} channel")
        return self

    def _prepare_network(self):
        self.plane.create()
        # Nobody serves a Service's address in here: an error at once, instead of a client that waits.
        self.plane.ip("link add br0 type bridge", f"addr add {NODE_NETWORK}.1/24 dev br0", "link set br0 up",
                      f"route add unreachable {SERVICES}")
        netns.Entry(self.plane.path).run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for node in self.nodes:
            node.connect(self.plane)
        for node in self.nodes:
            node.know(self.nodes)

    def _start_controllers(self):
        pki = self.api.pki
        for name in ("controller-manager", "scheduler", "proxy"):
            pki.certify(name, f"/CN=system:kube-{name}")
            pki.kubeconfig(name, self.api.server)
        self.api.daemon(
            "kube-controller-manager", f"--kubeconfig={pki.path('controller-manager.kubeconfig')}",
            "--leader-elect=false", "--use-service-account-credentials", "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={pki.path('sa.key')}", f"--root-ca-file={pki.path('ca.crt')}",
            f"--service-cluster-ip-range={SERVICES}", f"--cluster-cidr={POD_NETWORK}.0.0/16",
            "--allocate-node-cidrs=false", f"--flex-volume-plugin-dir={self.folder}/none", "--profiling=false")
        self.api.daemon("kube-scheduler", f"--kubeconfig={pki.path('scheduler.kubeconfig')}", "--leader-elect=false",
                        "--bind-address=127.0.0.1", "--profiling=false")

    def down(self):
        remove(self.name)

    # when it is there

    def kubectl(self, *argv, **kw):
        return self.api.kubectl(*argv, **kw)

    def ready(self, kind, namespace, name):
        conditions = self.client.get(kind, namespace, name).get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def rollout(self, namespace, what, timeout=120):
        self.kubectl("-n", namespace, "rollout", "status", what, f"--timeout={timeout}s", timeout=timeout + 10)

    def import_image(self, archive):
        for node in self.nodes:
            node.import_image(archive)
