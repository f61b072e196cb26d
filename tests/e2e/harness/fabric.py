# SPDX-License-Identifier: Apache-2.0
"""The node: a network namespace with a bridge, and pods on it, each a namespace of its own.

Nothing of it is in the machine's own network namespace. Services have addresses that nobody serves
but the mesh, unless a test asks for a stand-in of kube-proxy."""
import ipaddress
import os
import shutil
import subprocess
import tempfile
import uuid

from . import netns
from .backend import Backend
from .cgroup import Cgroup

POD_V4 = ipaddress.ip_network("10.77.0.0/16")
POD_V6 = ipaddress.ip_network("fd00:77::/64")
GATEWAY_V4, GATEWAY_V6 = "10.77.0.1", "fd00:77::1"


class Pod(netns.Entry):
    def __init__(self, fabric, name, namespace, index, dual_stack=True):
        super().__init__(os.path.join(fabric.netns_dir, f"{fabric.prefix}-{name}"), fabric.cgroup.path)
        self.fabric, self.name, self.namespace = fabric, name, namespace
        self.v4 = str(POD_V4[256 + index])
        self.v6 = str(POD_V6[256 + index]) if dual_stack else None
        self.mac = "02:77:00:00:%02x:%02x" % (index >> 8, index & 255)
        self.uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{fabric.prefix}-{name}"))
        self.veth = f"v{index}"
        self.backend = None
        self.exists = False

    @property
    def ips(self):
        return [self.v4] + ([self.v6] if self.v6 else [])

    def create(self, lo=True):
        netns.create(self.netns)
        self.exists = True
        self.fabric.node.ip(
            f"link add {self.veth} address {self._peer_mac()} type veth peer name eth0 address {self.mac} "
            f"netns {self.netns}",
            f"link set {self.veth} master br0 up")
        lines = ["link set lo up"] if lo else []
        lines += ["link set eth0 up", f"addr add {self.v4}/16 dev eth0", f"route add default via {GATEWAY_V4}"]
        if self.v6:
            lines += [f"addr add {self.v6}/64 dev eth0 nodad", f"route add default via {GATEWAY_V6}"]
        else:
            self.call(disable_ipv6)
        self.ip(*lines)
        return self

    def _peer_mac(self):
        return "06" + self.mac[2:]

    def serve(self, listen=None):
        self.backend = Backend(self, self.fabric.folder, self.fabric.cert, listen)
        return self

    def delete(self):
        if not self.exists:
            return
        if self.backend:
            self.backend.stop()
            self.backend = None
        netns.delete(self.netns)
        try:
            self.fabric.node.ip(f"link del {self.veth}")
        except AssertionError:
            pass  # it went with the namespace
        self.exists = False


def disable_ipv6():
    for scope in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w") as f:
            f.write("1")


def local_ports(low, high):
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
        f.write(f"{low} {high}")


class Fabric:
    def __init__(self):
        self.prefix = f"sle{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.netns_dir = os.path.join(self.folder, "netns")
        os.mkdir(self.netns_dir)
        self.cert = None
        self.pods = []
        self.agents = []
        self.n_pods = 0
        self.cgroup = Cgroup(f"sluice-{self.prefix}")
        # Outside of the folder that the agent watches: the node is no pod.
        self.node = netns.Entry(os.path.join(self.folder, "node"), self.cgroup.path)
        try:
            self._setup()
        except BaseException:
            self.close()
            raise

    def _setup(self):
        netns.create(self.node.netns)
        self.node.ip("link set lo up", "link add br0 type bridge forward_delay 0 mcast_snooping 0",
                     "link set br0 address 02:77:01:00:00:01 up", f"addr add {GATEWAY_V4}/16 dev br0",
                     f"addr add {GATEWAY_V6}/64 dev br0 nodad")
        self.cert = make_cert(self.folder)

    def pod(self, name, namespace="shop", serve=False, listen=None, dual_stack=True, lo=True):
        self.n_pods += 1
        pod = Pod(self, name, namespace, self.n_pods, dual_stack)
        self.pods.append(pod)
        pod.create(lo)
        if serve or listen:
            pod.serve(listen)
        return pod

    def forget(self, pod):
        pod.delete()
        self.pods.remove(pod)

    def close(self):
        for pod in self.pods:
            try:
                pod.delete()
            except Exception as e:
                print(f"cannot remove pod {pod.name}: {e}")
        self.cgroup.remove()
        netns.delete(self.node.netns)
        shutil.rmtree(self.folder, ignore_errors=True)


def make_cert(folder):
    path = os.path.join(folder, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", "2", "-subj", "/CN=web", "-addext", "subjectAltName=DNS:web",
                    "-keyout", path, "-out", path + ".crt"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path, "a") as out, open(path + ".crt") as crt:
        out.write(crt.read())
    return path
