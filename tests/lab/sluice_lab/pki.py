# SPDX-License-Identifier: Apache-2.0
"""The lab's certificate authority: certificates that live as long as a test, and kubeconfig files."""
import json
import os
import subprocess

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*argv):
    r = subprocess.run(["openssl", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, f"openssl {' '.join(argv)}: {r.stdout}"


class Authority:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(self.path("ca.crt")):
            openssl("req", "-x509", *EC, "-days", "30", "-subj", "/CN=sluice-lab",
                    "-addext", "basicConstraints=critical,CA:TRUE",
                    "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
                    "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"))
            # Of service account tokens. The API server knows them by the public half.
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path("sa.key"))
            openssl("pkey", "-in", self.path("sa.key"), "-pubout", "-out", self.path("sa.pub"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def certify(self, name, subject, *addresses):
        """NAME.crt and NAME.key. addresses: as in subjectAltName."""
        request, extensions = self.path(name + ".csr"), self.path(name + ".ext")
        with open(extensions, "w") as f:
            f.write("keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
            if addresses:
                f.write("subjectAltName=" + ",".join(addresses) + "\n")
        openssl("req", *EC, "-subj", subject, "-keyout", self.path(name + ".key"), "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
                "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", self.path(name + ".crt"))
        os.unlink(request)
        os.unlink(extensions)

    def kubeconfig(self, name, server):
        """Of NAME's certificate; the path."""
        path = self.path(name + ".kubeconfig")
        with open(path, "w") as f:
            json.dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "lab",
                "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": self.path("ca.crt")}}],
                "users": [{"name": name, "user": {"client-certificate": self.path(name + ".crt"),
                                                  "client-key": self.path(name + ".key")}}],
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}]}, f)
        return path
