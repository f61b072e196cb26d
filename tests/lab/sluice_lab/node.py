# SPDX-License-Identifier: Apache-2.0
"""A node: kubelet, containerd, kube-proxy and a bridge for pods, in namespaces and control groups of its own, so that a
program on the node's root cgroup sees this node's pods and nothing else."""
import glob
import json
import os
import subprocess

from harness import netns
from harness.wait import wait_for

from . import LAB, place

NODE_NETWORK, POD_NETWORK = "10.99.0", "10.244"
DNS_SERVICE = "10.96.0.10"
PAUSE_IMAGE = "localhost/sluice-lab/pause:1"
CNI_PLUGINS = "/usr/lib/cni"

CONTAINERD = """version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  # A machine may forbid to lower oom_score_adj, and runc would end without a word.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""


class Node:
    """index: from 1. cluster: see there."""

    def __init__(self, cluster, index):
        self.cluster, self.index = cluster, index
        self.name = f"n{index}"
        self.address = f"{NODE_NETWORK}.{10 + index}"
        self.pods = f"{POD_NETWORK}.{index}.0/24"
        self.folder = os.path.join(cluster.folder, self.name)
        self.groups = place.Groups(f"{cluster.name}/{self.name}")
        self.namespace = place.Namespace(f"{cluster.name}-{self.name}")

    # the way up

    def connect(self, bridge):
        """A cable to the bridge, in the control plane's namespace."""
        self.namespace.create()
        port = f"v{self.index}"
        bridge.ip(f"link add {port} type veth peer name eth0 netns {self.namespace.path}",
                  f"link set {port} master br0 up", f"route add {self.pods} via {self.address}")
        self.namespace.ip(f"addr add {self.address}/24 dev eth0", "link set eth0 up",
                          f"route add default via {NODE_NETWORK}.1")

    def know(self, others):
        self.namespace.ip(*(f"route add {n.pods} via {n.address}" for n in others if n is not self))

    def register(self):
        """The Node object, before its kubelet asks for it: one that finds none waits for minutes. With an address, which
        kube-proxy waits for, and not ready, which the kubelet is quicker to correct than to say."""
        self.cluster.api.client.apply({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}}})
        self.cluster.api.client.patch("Node", None, self.name, {"status": {
            "addresses": [{"type": "InternalIP", "address": self.address}, {"type": "Hostname", "address": self.name}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "Starting"}]}}, "status")

    def start(self):
        self._configure()
        self.groups.create()
        api = self.cluster.api
        self.process = place.start(
            ["unshare", "--mount", "--propagation", "private", "--cgroup", "--uts", "--ipc", "--pid", "--fork",
             "--kill-child", os.path.join(LAB, "node-init"), self.name, self.address, self.folder,
             os.path.join(api.store.folder, "bin"), api.store.images],
            os.path.join(self.folder, "init.log"), self.groups, self.namespace.path)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        pid = wait_for(lambda: open(children).read().split(), what="the node's first process")[0]
        self._write("pid", pid)
        self.groups.make_room()

    def _write(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def _configure(self):
        pki = self.cluster.api.pki
        pki.certify(self.name, f"/O=system:nodes/CN=system:node:{self.name}", f"DNS:{self.name}", f"IP:{self.address}")
        with open(pki.kubeconfig(self.name, self.cluster.api.server)) as f:
            self._write("kubeconfig", f.read())
        self._write("resolv.conf", f"nameserver {DNS_SERVICE}\n")
        self._write("hierarchies", "".join(
            f"{kind} {path} {_mount_options(path, kind)}\n" for path, kind in self.groups.kinds.items()))
        self._write("containerd.toml", CONTAINERD.format(pause=PAUSE_IMAGE, plugins=CNI_PLUGINS, folder=self.folder))
        self._write("cni/10-lab.conflist", {"cniVersion": "0.4.0", "name": "lab", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "hairpinMode": True, "ipMasq": False,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": self.pods}]], "dataDir": "/run/cni-ipam"}},
            {"type": "portmap", "capabilities": {"portMappings": True}}]})
        self._write("kubelet.json", {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": pki.path("ca.crt")}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki.path(self.name + ".crt"), "tlsPrivateKeyFile": pki.path(self.name + ".key"),
            "clusterDomain": "cluster.local", "clusterDNS": [DNS_SERVICE],
            "resolvConf": os.path.join(self.folder, "resolv.conf"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "cgroupDriver": "cgroupfs",
            "failCgroupV1": False, "failSwapOn": False, "oomScoreAdj": 0, "nodeStatusUpdateFrequency": "5s",
            "volumePluginDir": "/var/lib/kubelet/plugins",
            # A full disk of the machine is none of a test's business.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                             "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99})
        self._write("kube-proxy.json", {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
            "hostnameOverride": self.name, "clusterCIDR": f"{POD_NETWORK}.0.0/16", "oomScoreAdj": 0,
            "clientConnection": {"kubeconfig": pki.path("proxy.kubeconfig")},
            # Settings of the machine stay as they are.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}})

    # when it is there

    def pid(self):
        with open(os.path.join(self.folder, "pid")) as f:
            return f.read().strip()

    def command(self, *argv):
        """What runs argv inside, for a subprocess or an exec."""
        return ["nsenter", "-t", self.pid(), "--net", "--mount", "--pid", "--cgroup", "--uts", "--ipc", *argv]

    def run(self, *argv, check=True, timeout=60):
        r = subprocess.run(self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        assert not check or r.returncode == 0, f"{self.name}: {' '.join(argv)}: {r.returncode}\n{r.stdout}\n{r.stderr}"
        return r.stdout

    def import_image(self, archive):
        """An archive that the node can see, in a folder that it does not have of its own."""
        self.run("ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io", "images", "import", archive)

    def entry(self, pod):
        """Where a process of a pod (its object) runs, for a process of ours."""
        uid = pod["metadata"]["uid"]
        found = wait_for(lambda: self._pid_in(uid), what=f"a process of pod {pod['metadata']['name']}")
        with open(f"/proc/{found}/cgroup") as f:
            path = next(line.split("::")[1].strip() for line in f if line.startswith("0::"))
        mount = self.groups.unified[:-len(self.groups.name) - 1]
        return netns.Entry(f"/proc/{found}/ns/net", mount + path)

    def _pid_in(self, uid):
        for file in glob.glob(f"{self.groups.unified}/kubepods/**/pod{uid}/*/cgroup.procs", recursive=True):
            with open(file) as f:
                pids = f.read().split()
            if pids:
                return pids[0]
        return None


def _mount_options(path, kind):
    """A v1 hierarchy is named by its controllers, or by its name."""
    if kind == "cgroup2":
        return "rw"
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            if left.split()[4] == path:
                options = [o for o in right.split()[2].split(",") if o not in ("rw", "ro")]
                return ",".join((["none"] if options[0].startswith("name=") else []) + options)
    raise LookupError(path)
