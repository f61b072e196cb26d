# SPDX-License-Identifier: Apache-2.0
"""The other proxies: as their packages come, with what a plain reverse proxy needs, and no more."""
import os
import subprocess

from harness.wait import wait_for

_HAPROXY = """global
    maxconn 4000
    nbthread 1
defaults
    mode http
    timeout connect 3s
    timeout client 3s
    timeout server 3s
    timeout http-request 3s
    timeout http-keep-alive 3s
"""
_NGINX = """daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    client_header_timeout 3s;
    client_body_timeout 3s;
    keepalive_timeout 3s;
    lingering_timeout 1s;
    proxy_read_timeout 3s;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_ignore_client_abort on;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}}}
"""


class Proxy:
    """front and back: first port of each side; lane i listens on front + i and asks back + i."""

    def __init__(self, pod, folder, argv, front):
        self.front = front
        self.log = open(os.path.join(folder, argv[0].rpartition("/")[2] + ".out"), "w")
        self.process = pod.popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(lambda: pod.call(_listens, (pod.v4, front)), 15, what=f"{argv[0]} to listen, see {self.log.name}")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def _listens(address):
    import socket
    with socket.create_connection(address, 1):
        return True


def haproxy(pod, folder, backend, front, back, lanes):
    text = _HAPROXY
    for i in range(lanes):
        text += (f"frontend f{i}\n    bind {pod.v4}:{front + i}\n    default_backend b{i}\n"
                 f"backend b{i}\n    server s {backend}:{back + i}\n")
    path = os.path.join(folder, "haproxy.cfg")
    with open(path, "w") as f:
        f.write(text)
    return Proxy(pod, folder, ["/usr/sbin/haproxy", "-f", path, "-db"], front)


def nginx(pod, folder, backend, front, back, lanes):
    servers = "".join(f"    upstream u{i} {{ server {backend}:{back + i}; keepalive 4; }}\n"
                      f"    server {{ listen {pod.v4}:{front + i}; location / {{ proxy_pass http://u{i}; }} }}\n"
                      for i in range(lanes))
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as f:
        f.write(_NGINX.format(folder=folder, servers=servers))
    return Proxy(pod, folder, ["/usr/sbin/nginx", "-p", folder, "-c", path], front)


OTHERS = {"haproxy": haproxy, "nginx": nginx}
