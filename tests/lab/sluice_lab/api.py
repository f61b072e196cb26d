# SPDX-License-Identifier: Apache-2.0
"""etcd and kube-apiserver: alone on some loopback, or as the beginning of a cluster."""
import json
import os
import re
import shutil
import signal

from harness import netns
from harness.wait import wait_for

from . import place
from .client import Client, Refused
from .pki import Authority

SERVICES = "10.96.0.0/24"
API_SERVICE = "10.96.0.1"


class Api:
    """port: of the API server; the two after it are etcd's. namespace: path of the network namespace."""

    def __init__(self, store, folder, address="127.0.0.1", port=6443, namespace=None, groups=None, options=()):
        self.store, self.folder, self.namespace, self.groups = store, folder, namespace, groups
        self.address, self.port = address, port
        self.options = options
        self.server = f"https://{address}:{port}"
        self.etcd_url = f"http://127.0.0.1:{port + 1}"
        self.processes = {}

    def attach(self):
        """To servers that another process started."""
        self.pki = Authority(os.path.join(self.folder, "pki"))
        self.kubeconfig = self.pki.path("admin.kubeconfig")
        self.client = Client(self.address, self.port, self.pki, namespace=self.namespace)

    def _certify(self):
        self.pki = Authority(os.path.join(self.folder, "pki"))
        self.pki.certify("apiserver", "/CN=kube-apiserver", "DNS:kubernetes", "DNS:kubernetes.default",
                         "DNS:kubernetes.default.svc", "DNS:kubernetes.default.svc.cluster.local", "DNS:localhost",
                         f"IP:{API_SERVICE}", f"IP:{self.address}", "IP:127.0.0.1")
        self.pki.certify("admin", "/O=system:masters/CN=admin")
        self.pki.certify("kubelet-client", "/O=system:masters/CN=kube-apiserver")
        self.kubeconfig = self.pki.kubeconfig("admin", self.server)

    def start(self):
        os.makedirs(os.path.join(self.folder, "log"))
        self._certify()
        self.start_etcd()
        self.start_server()
        return self

    def daemon(self, name, *argv):
        self.processes[name] = place.start([self.store.program(name), *argv], self.log_path(name), self.groups,
                                           self.namespace)

    def log_path(self, name):
        return os.path.join(self.folder, "log", name + ".log")

    def start_etcd(self):
        peer = f"http://127.0.0.1:{self.port + 2}"
        self.daemon("etcd", "--name=lab", f"--data-dir={self.folder}/etcd", "--log-level=warn", "--unsafe-no-fsync",
                    f"--listen-client-urls={self.etcd_url}", f"--advertise-client-urls={self.etcd_url}",
                    f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=lab={peer}")

    def start_server(self, *options):
        pki = self.pki.path
        issuer = "https://kubernetes.default.svc.cluster.local"
        self.daemon(
            "kube-apiserver", f"--etcd-servers={self.etcd_url}", f"--advertise-address={self.address}",
            f"--bind-address={self.address}", f"--secure-port={self.port}", f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
            f"--client-ca-file={pki('ca.crt')}", f"--tls-cert-file={pki('apiserver.crt')}",
            f"--tls-private-key-file={pki('apiserver.key')}", f"--service-account-issuer={issuer}",
            f"--service-account-key-file={pki('sa.pub')}", f"--service-account-signing-key-file={pki('sa.key')}",
            f"--kubelet-client-certificate={pki('kubelet-client.crt')}",
            f"--kubelet-client-key={pki('kubelet-client.key')}", f"--kubelet-certificate-authority={pki('ca.crt')}",
            "--kubelet-preferred-address-types=InternalIP", "--enable-aggregator-routing", "--profiling=false",
            *self.options, *options)
        self.client = Client(self.address, self.port, self.pki, namespace=self.namespace)
        wait_for(self._ready, 60, 0.1, what="the API server to be ready")

    def _ready(self):
        """A process that ended is no reason to wait on."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                with open(self.log_path(name), errors="replace") as f:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{f.read()[-3000:]}")
        try:
            return self.client.request("GET", "/readyz")["message"] == "ok"
        except Refused:
            return False

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name, None)
        place.stop(process, how)

    def close(self):
        """All of them; nothing of their state is worth keeping."""
        for name in reversed(list(self.processes)):
            self.stop(name, signal.SIGKILL)
        self.client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *argv, check=True, timeout=120, **kw):
        r = netns.Entry(self.namespace).run([self.store.program("kubectl"), "--kubeconfig", self.kubeconfig, *argv],
                                            timeout=timeout, check=check, **kw)
        return r.stdout

    def install_crds(self, channel="standard", only=""):
        """only: a regular expression that the files' names have to match."""
        self.install(*(f for f in self.store.crds(channel) if re.search(only, os.path.basename(f))))

    def install(self, *files):
        """CRDs; returns when they are served."""
        self.kubectl("apply", "--server-side", "-o", "name", *(a for f in files for a in ("-f", f)))
        wait_for(self._established, 30, what="the CRDs to be established")

    def _established(self):
        return all(any(c["type"] == "Established" and c["status"] == "True" for c in crd["status"]["conditions"] or [])
                   for crd in self.client.list("CustomResourceDefinition"))

    def compact(self):
        """etcd forgets all versions but the newest, as it does every few minutes elsewhere."""
        revision = self.etcd("kv/range", {"key": "AA=="})["header"]["revision"]
        self.etcd("kv/compaction", {"revision": revision, "physical": True})

    def etcd(self, call, body):
        """One of its calls, by JSON: keys and values in base64."""
        r = netns.Entry(self.namespace).run(["curl", "-sSf", "-d", "@-", f"{self.etcd_url}/v3/{call}"],
                                            input=json.dumps(body))
        return json.loads(r.stdout)

