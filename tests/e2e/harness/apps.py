# SPDX-License-Identifier: Apache-2.0
"""Programs of tests/e2e/applications as clients and servers in pods. PROGRAMS: name -> how to start it."""
import os
import shutil
import socket
import subprocess

import pytest

from .wait import wait_for

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "applications")
# As in applications/app.py.
_PRIME = 65521
_BLOCK = bytes((j * 31 + (j >> 3) * 17 + (j >> 8) * 7) & 255 for j in range(_PRIME))
SIZES = (0, 1, 100, 1000, 10000, 100000, 1000000, 6000000, 1500000, 50000)

_NGINX = """daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    client_max_body_size 0;
    keepalive_requests 100000;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering {buffering};
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream target {{ server {target}; keepalive 8; }}
    server {{
        listen {listen}{tls};
        location / {{ proxy_pass http://target; }}
        {static}
    }}
}}
"""
_HAPROXY = """global
    maxconn 1000
    nbthread 1
defaults
    mode http
    option splice-auto
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend f
    bind {listen}
    default_backend b
backend b
    http-reuse always
    server s {target}
"""


def pattern(n):
    return (_BLOCK * (n // _PRIME + 1))[:n]


class Builder:
    """What has to be compiled, once for the run, when it is first needed."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "apps")
        self.made = set()

    def _make(self, name, argv, env=None):
        if name not in self.made:
            os.makedirs(self.folder, exist_ok=True)
            subprocess.run(argv, check=True, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL)
            self.made.add(name)

    def go(self):
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if not go:
            pytest.skip("no Go here; CI installs golang-go")
        target = os.path.join(self.folder, "app-go")
        self._make("go", [go, "build", "-o", target, os.path.join(FOLDER, "app.go")],
                   {"GO111MODULE": "off", "CGO_ENABLED": "0"})
        return [target]

    def java(self):
        if not shutil.which("javac"):
            pytest.skip("no Java compiler here; CI installs default-jdk-headless")
        self._make("java", ["javac", "-d", self.folder, os.path.join(FOLDER, "App.java")])
        return ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", self.folder, "App"]

    @staticmethod
    def python():
        return ["/usr/bin/python3", os.path.join(FOLDER, "app.py")]

    @staticmethod
    def node():
        if not shutil.which("node"):
            pytest.skip("no Node here; CI installs nodejs")
        return ["node", os.path.join(FOLDER, "app.js")]

    def files(self):
        """A folder with down/N, for servers of files."""
        down = os.path.join(self.folder, "down")
        os.makedirs(down, exist_ok=True)
        for n in SIZES:
            with open(os.path.join(down, str(n)), "wb") as f:
                f.write(pattern(n))
        os.chmod(self.folder, 0o755)
        return self.folder


def _tls_lines(cert, key, http2):
    return f" ssl{' http2' if http2 else ''};\n        ssl_certificate {cert};\n        ssl_certificate_key {key}"


def nginx(folder, listen, target, static=None, buffering=False, tls=None, http2=False):
    """tls: files of a certificate and its key."""
    place = f"location /down/ {{ root {static}; }}" if static else ""
    path = os.path.join(folder, f"nginx-{listen.replace(':', '-')}")
    os.makedirs(path)
    with open(os.path.join(path, "nginx.conf"), "w") as f:
        f.write(_NGINX.format(folder=path, listen=listen, target=target, static=place,
                              tls=_tls_lines(*tls, http2) if tls else "", buffering="on" if buffering else "off"))
    return ["/usr/sbin/nginx", "-p", path, "-c", os.path.join(path, "nginx.conf")]


def haproxy(folder, listen, target):
    path = os.path.join(folder, f"haproxy-{listen.replace(':', '-')}.cfg")
    with open(path, "w") as f:
        f.write(_HAPROXY.format(listen=listen, target=target))
    return ["/usr/sbin/haproxy", "-f", path, "-db"]


class Process:
    """A server in a pod; ready when it listens."""

    def __init__(self, pod, argv, ip, port, log):
        self.log = open(log, "w")
        self.process = pod.popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            wait_for(lambda: self._listens(pod, ip, port), 30, what=f"{argv[0]} to listen, see {log}")
        except BaseException:
            self.stop()
            with open(log) as f:
                print(f.read()[-3000:])
            raise

    def _listens(self, pod, ip, port):
        assert self.process.poll() is None, "it ended"
        return pod.call(_connects, (ip, port))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def _connects(address):
    with socket.create_connection(address, 1):
        return True
