# SPDX-License-Identifier: Apache-2.0
"""Certificates, and an HTTPS server that says what it saw of TLS."""
import json
import os
import socket
import ssl
import subprocess
import threading

from .wait import scaled

HOST = "shop.example"


def config_map(name, text, ns="shop"):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": ns}, "data": {"ca.crt": text}}


def policy(name, service, ca="ca", hostname=HOST, names=None, section=None, created=None, options=None, ns="shop", **validation):
    target = {"group": "", "kind": "Service", "name": service}
    if section:
        target["sectionName"] = section
    if ca:
        validation["caCertificateRefs"] = [{"group": "", "kind": "ConfigMap", "name": ca}]
    if names:
        validation["subjectAltNames"] = [{"type": "URI", "uri": n} if "://" in n else {"type": "Hostname", "hostname": n}
                                         for n in names]
    meta = {"name": name, "namespace": ns}
    if created:
        meta["creationTimestamp"] = created
    spec = {"targetRefs": [target], "validation": {"hostname": hostname, **validation}}
    if options:
        spec["options"] = options
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": meta, "spec": spec}


def policies(status):
    """Those of a status file, or of the admin socket's answer."""
    return [p for p in status["routes"] if p["kind"] == "BackendTLSPolicy"]


class CA:
    """An authority of its own, made by openssl(1)."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = os.path.join(folder, name), name
        os.makedirs(self.folder)
        self.n = 0
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
                      "-out", "ca.crt", "-days", "2", "-subj", f"/CN={name}")
        with open(os.path.join(self.folder, "ca.crt")) as f:
            self.pem = f.read()
        self.path = os.path.join(self.folder, "ca.crt")

    def _openssl(self, *argv):
        subprocess.run(["openssl", *argv], cwd=self.folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    def issue(self, *names, subject="server", days="2"):
        """Path of a file with certificate and key, for names as openssl has them (DNS:x, URI:y)."""
        self.n += 1
        stem = f"{subject}-{self.n}"
        with open(os.path.join(self.folder, stem + ".ext"), "w") as f:
            f.write(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", stem + ".key",
                      "-out", stem + ".csr", "-subj", f"/CN={subject}")
        self._openssl("x509", "-req", "-in", stem + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", str(self.n),
                      "-out", stem + ".crt", "-days", days, "-extfile", stem + ".ext")
        path = os.path.join(self.folder, stem + ".pem")
        with open(path, "w") as out:
            for part in (".crt", ".key"):
                with open(os.path.join(self.folder, stem + part)) as f:
                    out.write(f.read())
        return path


def parts_of(path):
    """(certificate, key) of a file that issue() made."""
    with open(path) as f:
        text = f.read()
    at = text.index("-----BEGIN PRIVATE KEY-----")
    return text[:at], text[at:]


def split(path):
    """The same as two files."""
    paths = path[:-4] + ".only.crt", path[:-4] + ".only.key"
    for name, text in zip(paths, parts_of(path)):
        with open(name, "w") as f:
            f.write(text)
    return paths


def context(cert, version=None, alpn=("http/1.1",), client_ca=None, tickets=2):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(cert)
    if version:
        c.minimum_version = c.maximum_version = version
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if client_ca:
        c.load_verify_locations(client_ca)
        c.verify_mode = ssl.CERT_REQUIRED
    c.num_tickets = tickets
    return c


def _read_head(f):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = f.readline()
        if not line:
            return None
        head += line
    return head


def _body(f, head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return f.read(int(line.split(b":")[1]))
    return b""


def _answer(s, f, seen):
    """One request. Returns whether another may follow."""
    head = _read_head(f)
    if not head:
        return False
    path = head.split(b" ")[1].decode()
    body = _body(f, head)
    if path == "/echo":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True
    if path.startswith("/bytes/"):
        n = int(path[7:])
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + bytes(range(256)) * (n // 256))
        return True
    if path in ("/cut", "/end"):
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        if path == "/end":
            s.unwrap()
        return False
    text = json.dumps(seen).encode()
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    return True


def _serve_one(raw, make_context):
    names = []
    c = make_context()
    c.sni_callback = lambda _socket, name, _context: names.append(name)
    with raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            s = c.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
        except OSError:
            return
        cert = s.getpeercert() or {}
        seen = {"version": s.version(), "alpn": s.selected_alpn_protocol(), "sni": names[0] if names else None,
                "resumed": s.session_reused, "client_port": s.getpeername()[1],
                "client": dict(x[0] for x in cert.get("subject", ())).get("commonName"), "peer": s.getpeername()[0]}
        with s, s.makefile("rb") as f:
            try:
                while _answer(s, f, seen):
                    pass
            except OSError:
                pass


def serve(task, ip, port, make_context):
    """Runs in a pod: HTTPS at ip and port until it is told to stop. Contexts are made once, as tickets are theirs."""
    shared = make_context()
    with socket.create_server((ip, port)) as listener:
        task.report("ready")
        listener.settimeout(0.1)
        while not task.stopping():
            try:
                raw, _ = listener.accept()
            except TimeoutError:
                continue
            raw.settimeout(scaled(30))
            threading.Thread(target=_serve_one, args=(raw, lambda: shared), daemon=True).start()


class Server:
    def __init__(self, pod, port, cert, **options):
        self.pod, self.port = pod, port
        self.task = pod.spawn(serve, pod.v4, port, lambda: context(cert, **options))
        assert self.task.next_report() == "ready"

    def stop(self):
        self.task.stop()
