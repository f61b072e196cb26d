# SPDX-License-Identifier: Apache-2.0
"""One test's world: a folder of manifests, an agent, the pods of the fabric."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import tempfile

from . import manifests as m
from . import load, rawhttp
from .agent import SANITIZER_ENV, Agent, binary
from .netns import Entry
from .wait import wait_for

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Metrics(list):
    """Samples (name, labels, value) of one scrape."""

    @classmethod
    def parse(cls, text):
        samples = cls()
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = _SAMPLE.match(line).groups()
                samples.append((name, dict(_LABEL.findall(labels or "")), float(value)))
        return samples

    def sum(self, name, **labels):
        """Sum over all samples of the name that have these labels. Fails on an unknown name."""
        assert any(n == name for n, _, _ in self), f"no metric {name}; there are {sorted({n for n, _, _ in self})}"
        return sum(v for n, have, v in self if n == name and labels.items() <= have.items())


class World:
    VIPS = {"web": ("10.96.0.10", "fd00:96::10"), "a": ("10.96.0.11", "fd00:96::11"),
            "b": ("10.96.0.12", "fd00:96::12"), "c": ("10.96.0.13", "fd00:96::13")}

    def __init__(self, fabric, pods):
        self.fabric, self.pods = fabric, dict(pods)
        self.client, self.alien = pods["client"], pods["alien"]
        self.a, self.b, self.c = pods["a"], pods["b"], pods["c"]
        self.folder = tempfile.mkdtemp(prefix="world-", dir=fabric.folder)
        self.config = os.path.join(self.folder, "config")
        os.mkdir(self.config)
        self.bpffs = os.path.join(fabric.bpffs, os.path.basename(self.folder))
        self.socket = os.path.join(self.folder, "admin.sock")
        self.access_log = os.path.join(self.folder, "access.log")
        self.status_file = os.path.join(self.folder, "status.json")
        self.agent = None
        self.agents = []
        self.tasks = []
        self.extra_pods = []
        self.vips = dict(self.VIPS)
        self.written = {}
        for p in (self.a, self.b, self.c):
            p.backend.reset()

    # configuration

    def base(self):
        """Services web (backends a, b, c), a, b and c, their slices, and the pods."""
        objects = [m.namespace("shop"), m.namespace("other")]
        objects += [m.pod(p) for p in self.pods.values()]
        for name, pods in (("web", [self.a, self.b, self.c]), ("a", [self.a]), ("b", [self.b]), ("c", [self.c])):
            objects += self.service_objects(name, pods)
        self.write("base.yaml", objects)
        return self

    def service_objects(self, name, pods, ports=None, vip=None, ns="shop", **kw):
        """A dual-stack Service and its slices."""
        if vip:
            self.vips[name] = vip
        v4 = [p for p in pods]
        v6 = [p for p in pods if p.v6]
        return [m.service(name, self.vips[name], ports, ns=ns, **kw),
                m.endpoint_slice(name, v4, ports, ns=ns),
                m.endpoint_slice(name, v6, ports, ns=ns, family=6)]

    def add_service(self, name, pods, ports=None, vip=None, **kw):
        if not vip:
            n = 50 + len(self.vips)
            vip = (f"10.96.0.{n}", f"fd00:96::{n}")
        self.write(f"service-{kw.get('ns', 'shop')}-{name}.yaml", self.service_objects(name, pods, ports, vip, **kw))
        return vip

    def write(self, file, objects):
        self.write_text(file, m.documents(objects if isinstance(objects, list) else [objects]))

    def write_text(self, file, text):
        target = os.path.join(self.config, file)
        hidden = os.path.join(self.config, "." + file)
        with open(hidden, "w") as f:
            f.write(text)
        os.rename(hidden, target)

    def remove(self, file):
        os.unlink(os.path.join(self.config, file))

    def route(self, name, rules, parents=None, **kw):
        """Writes an HTTPRoute as a file of its own."""
        self.write(f"route-{kw.get('ns', 'shop')}-{name}.yaml", m.route(name, rules, parents, **kw))

    def grpc_route(self, name, rules, parents=None, **kw):
        self.write(f"grpcroute-{kw.get('ns', 'shop')}-{name}.yaml",
                   m.route(name, rules, parents, kind="GRPCRoute", **kw))

    def l4_route(self, kind, name, backends, parents=None, **kw):
        """A TCPRoute or TLSRoute."""
        self.write(f"{kind.lower()}-{kw.get('ns', 'shop')}-{name}.yaml",
                   m.route(name, [m.rule(backends=backends)], parents, kind=kind, **kw))

    def remove_route(self, name, ns="shop"):
        self.remove(f"route-{ns}-{name}.yaml")

    def pod(self, name, namespace="shop", written=True, **kw):
        """A pod of this test alone."""
        p = self.fabric.pod(f"{name}-{self.fabric.n_pods}", namespace, **kw)
        self.extra_pods.append(p)
        if written:
            self.write(f"pod-{p.name}.yaml", m.pod(p))
        if p.backend:
            p.backend.wait_ready()
        return p

    # the agent

    def arguments(self):
        return {"--config": self.config, "--cgroup": self.fabric.cgroup.path, "--bpffs": self.bpffs,
                "--netns-dir": self.fabric.netns_dir, "--admin-socket": self.socket,
                "--access-log": self.access_log, "--status-file": self.status_file,
                "--metrics": "127.0.0.1:15020", "--workers": "2", "--log-level": "info",
                "--drain-timeout": "3000"}

    def start(self, *extra, wait=True, env=None, entry=None, wrapper=(), **options):
        """Options by keyword replace those of arguments(); None leaves one out."""
        assert not any(a.running() for a in self.fabric.agents), \
            "one agent at a time: in a module that shares a world no test starts one of its own"
        arguments = self.arguments()
        arguments.update({"--" + k.replace("_", "-"): v for k, v in options.items()})
        argv = [word for k, v in arguments.items() if v is not None for word in (k, str(v))]
        log = os.path.join(self.folder, "agent.log")
        self.agent = Agent(entry or self.fabric.node, log, argv + list(extra), env, wrapper)
        self.agents.append(self.agent)
        self.fabric.agents.append(self.agent)
        if wait:
            self.wait_ready()
        return self.agent

    def wait_ready(self, timeout=20):
        wait_for(self._ready, timeout, what="the agent to serve every pod")

    def _ready(self):
        if not self.agent.running():
            raise RuntimeError(f"the agent ended with {self.agent.process.returncode}:\n{self.agent.log()[-3000:]}")
        served = self.served_netns()
        expected = {os.path.basename(p.netns) for p in self.fabric.pods if p.exists}
        return expected <= served

    def served_netns(self):
        return {n["name"] for n in self.ctl("netns")["netns"] if n["state"] == "ready"}

    def ctl_run(self, *argv, check=True, output="json"):
        """sluicectl as a process."""
        env = dict(os.environ, **SANITIZER_ENV)
        options = ["-o", output] if output else []
        return Entry().run([binary("sluicectl"), "-s", self.socket, *options, *argv], check=check, env=env)

    def ctl(self, command):
        """The admin socket itself; what sluicectl makes of it is test_status.py's business."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.socket)
            s.sendall(json.dumps({"command": command}).encode() + b"\n")
            with s.makefile("rb") as f:
                answer = json.loads(f.read())
        assert "error" not in answer, answer
        return answer

    def launch(self, *extra, program=None, **options):
        """An agent beside the one that runs, which may take over; not waited for."""
        arguments = self.arguments()
        arguments.update({"--" + k.replace("_", "-"): v for k, v in options.items()})
        argv = [word for k, v in arguments.items() if v is not None for word in (k, str(v))]
        log = os.path.join(self.folder, f"agent-{len(self.agents)}.log")
        agent = Agent(self.fabric.node, log, argv + list(extra), program=program)
        self.agents.append(agent)
        self.fabric.agents.append(agent)
        return agent

    def upgrade(self, *extra, timeout=20, **options):
        """Another agent takes over from the one that runs, which ends by itself."""
        old, new = self.agent, self.launch("--takeover", *extra, **options)
        status = old.wait(timeout)
        assert status == 0, f"the old agent ended with {status}:\n{old.log()[-3000:]}\n{new.log()[-3000:]}"
        assert new.running(), new.log()[-3000:]
        self.agent = new
        return new

    def restart(self, *extra, **options):
        self.agent.stop()
        return self.start(*extra, **options)

    def uninstall(self):
        env = dict(os.environ, **SANITIZER_ENV)
        self.fabric.node.run([binary("sluiced"), "--uninstall", "--bpffs", self.bpffs], env=env)

    def metrics(self, address=("127.0.0.1", 15020)):
        r = self.fabric.node.call(lambda: rawhttp.fetch(address, target="/metrics", host="metrics"))
        assert r.status == 200, r
        return Metrics.parse(r.body.decode())

    def access_records(self):
        try:
            with open(self.access_log) as f:
                return [json.loads(line) for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def status(self):
        with open(self.status_file) as f:
            return json.load(f)

    # traffic

    def addr(self, service="web", port=80, family=4):
        return (self.vips[service][0 if family == 4 else 1], port)

    def fetch(self, target="/", service="web", port=80, family=4, pod=None, **kw):
        """One request from a pod (the client, unless said) to a Service's address."""
        addr = self.addr(service, port, family)
        return (pod or self.client).call(rawhttp_fetch, addr, {"target": target, **kw},
                                         timeout=kw.get("timeout", 10) + 20)

    def pods_of(self, n, target="/", service="web", pod=None, **kw):
        """Which pods answered n requests on one connection."""
        addr = self.addr(service, kw.pop("port", 80), kw.pop("family", 4))

        def run():
            with rawhttp.Conn(addr) as c:
                names = []
                for _ in range(n):
                    r = c.request(target=target, **kw)
                    assert r.status == 200, r
                    names.append(r.seen["pod"])
                return names
        return (pod or self.client).call(run, timeout=60)

    def spawn(self, pod, fn, *args):
        task = pod.spawn(fn, *args)
        self.tasks.append(task)
        return task

    def load(self, pod=None, service="web", **kw):
        """Load that runs until its stop_and_result()."""
        addr = self.addr(service, kw.pop("port", 80), kw.pop("family", 4))
        task = self.spawn(pod or self.client, lambda task: load.run(task, addr, **kw))
        task.next_report()
        return task

    def wait_answer(self, check, what, timeout=10, **request):
        """Ask again until check(response) holds. An address that is not routed yet answers nothing."""
        request.setdefault("timeout", 1)
        return wait_for(lambda: check(self.fetch(**request)), timeout, interval=0.03, what=what)

    # the end

    def close(self, failed=False):
        problems = []

        def attempt(fn):
            try:
                fn()
            except Exception as e:
                problems.append(f"{type(e).__name__}: {e}")

        for task in self.tasks:
            task.kill()
        if self.agent and self.agent.running():
            attempt(lambda: self.agent.signal(signal.SIGCONT))
            attempt(lambda: self.agent.stop(30))
        for agent in self.agents:
            if agent.running():
                agent.kill()
        self.fabric.agents[:] = [a for a in self.fabric.agents if a.running()]
        if self.agents:
            attempt(self.uninstall)
            attempt(self._check_nothing_left)
            for agent in self.agents:
                attempt(agent.check_log)
            if failed or problems:
                for agent in self.agents[-3:]:
                    print(f"--- {agent.log_path}\n{agent.log()[-8000:]}")
        for pod in self.extra_pods:
            attempt(lambda pod=pod: self.fabric.forget(pod))
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.path.isdir(self.bpffs):
            shutil.rmtree(self.bpffs, ignore_errors=True)
        if problems and not failed:
            raise AssertionError("at the end of the test: " + "; ".join(problems))
        for p in problems:
            print("at the end of the test:", p)

    def _check_nothing_left(self):
        # The kernel takes a link apart in its own time once its pin is gone.
        wait_for(self._nothing_left, 5)

    def _nothing_left(self):
        assert not os.path.exists(self.bpffs) or not os.listdir(self.bpffs), \
            f"pins left behind: {os.listdir(self.bpffs)}"
        shown = Entry().run(["bpftool", "-j", "cgroup", "show", self.fabric.cgroup.path]).stdout
        attached = json.loads(shown.strip() or "[]")
        assert not attached, f"programs left on the cgroup: {attached}"
        return True


def rawhttp_fetch(addr, kw):
    return rawhttp.fetch(addr, **kw)


@contextlib.contextmanager
def stand_in(world, service="web"):
    """A pod that serves the Service's addresses without the mesh, as kube-proxy would."""
    pod = world.pod("stand-in", written=False, listen=["http:80"])
    vips = world.vips[service]
    for vip, own in zip(vips, pod.ips):
        pod.ip(f"addr add {vip}/{128 if ':' in vip else 32} dev lo")
        world.client.ip(f"route add {vip} via {own}")
    try:
        yield pod
    finally:
        world.client.ip(*(f"route del {vip}" for vip in vips))
