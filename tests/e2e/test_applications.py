# SPDX-License-Identifier: Apache-2.0
"""Real programs on both sides of the mesh: what they send and get is what they would without it, whether the
kernel splices their connections or leaves them on TCP. applications/README.md has the exchanges; tests/soak the
program behind the last tests."""
import os

import pytest

from harness import apps, manifests as m, soak, spliced
from harness.wait import scaled, wait_for

FIRST_PORT = 1000
REFERENCE = "python asyncio"
# name -> how to start it. {ip} and {port}: where to listen, or what to dial.
CLIENTS = {
    "python blocking": ("python", "client blocking"), "python timeout": ("python", "client timeout"),
    "python http.client": ("python", "client http.client"), "python asyncio": ("python", "client asyncio"),
    "java HttpURLConnection": ("java", "client url"), "java java.net.http": ("java", "client http"),
    "java Socket": ("java", "client socket"), "java selector": ("java", "client nio"),
    "go net/http": ("go", "client"),
    "node http": ("node", "client http"), "node net": ("node", "client net"),
}
SERVERS = {
    "python asyncio": ("python", "server asyncio"), "python threads": ("python", "server threads"),
    "python timeout": ("python", "server timeout"),
    "java HttpServer": ("java", "server http"), "java ServerSocket": ("java", "server socket"),
    "go net/http": ("go", "server"), "node http": ("node", "server http"),
    "nginx": None, "haproxy": None, "go relay": None, "go ReverseProxy": None,
}
# Proxies in the client's pod, which are the mesh's clients.
RELAYS = ["nginx", "nginx buffering", "haproxy", "go relay", "go ReverseProxy"]
# What programs cannot do, with or without a mesh.
WITHOUT = {"java ServerSocket": ["chunks"],
           # They take the end of what a client sends for its going.
           "nginx": ["half-close"], "nginx buffering": ["half-close"], "go ReverseProxy": ["half-close"]}
PORTS = {name: FIRST_PORT + i for i, name in enumerate(SERVERS)}


class Applications:
    """Servers are started when they are first asked for, each behind a port of one Service."""

    def __init__(self, world, folder):
        self.world, self.builder = world, apps.Builder(folder)
        self.folder = os.path.join(world.folder, "apps")
        os.mkdir(self.folder)
        self.backend = world.pod("apps")
        self.vip = world.add_service("apps", [self.backend], [
            m.port(port, 7000 + port, f"p{port}", "http") for port in PORTS.values()])[0]
        for port in PORTS.values():
            world.route(f"apps-{port}", [m.rule(backends=m.backend("apps", port))], [m.parent("apps", port=port)])
        self.soak = soak.Soak(world)
        # For what docs/limits.md says of spliced sockets.
        self.never_spliced = soak.Soak(world, "tcp", {"sluice.dev/splice": "disabled"})
        world.start(splice="on")
        self.soak.wait_routed()
        self.never_spliced.wait_routed()
        self.running, self.n_relays = {}, 0
        wait_for(lambda: world.fetch(service="apps", port=max(PORTS.values()), timeout=1).status == 503, 20,
                 what="the applications' ports to be routed")

    def _argv(self, name, ip, port):
        if SERVERS[name]:
            runtime, words = SERVERS[name]
            return [*getattr(self.builder, runtime)(), *words.split(), ip, str(port)]
        return self.relay_argv(name, ip, port, ip, 7000 + PORTS[self.server(REFERENCE)], self.builder.files())

    def relay_argv(self, name, ip, port, to, to_port, static=None):
        listen, target = f"{ip}:{port}", f"{to}:{to_port}"
        if name.startswith("nginx"):
            return apps.nginx(self.folder, listen, target, static, "buffering" in name)
        if name == "haproxy":
            return apps.haproxy(self.folder, listen, target)
        return [*self.builder.go(), "relay" if name == "go relay" else "reverse", ip, str(port), to, str(to_port)]

    def server(self, name):
        if name not in self.running:
            port = 7000 + PORTS[name]
            argv = self._argv(name, self.backend.v4, port)
            log = os.path.join(self.folder, f"server-{port}.log")
            self.running[name] = apps.Process(self.backend, argv, self.backend.v4, port, log)
            # It may have answered 503 until now.
            wait_for(lambda: self.world.fetch(service="apps", port=PORTS[name], target="/down/1").status == 200, 20,
                     what=f"{name} behind the mesh")
        return name

    def relay(self, name, server):
        """A proxy in the client's pod; its address."""
        self.n_relays += 1
        client, port = self.world.client, 9000 + self.n_relays
        argv = self.relay_argv(name, client.v4, port, self.vip, PORTS[self.server(server)])
        self.running[f"relay {name} {server}"] = apps.Process(client, argv, client.v4, port,
                                                              os.path.join(self.folder, f"relay-{port}.log"))
        return client.v4, port

    def run(self, client, server, address=None, *more):
        runtime, words = CLIENTS[client]
        ip, port = address or (self.vip, PORTS[self.server(server)])
        argv = [*getattr(self.builder, runtime)(), *words.split(), ip, str(port), *more]
        with spliced.shown(self.world, f"{client} to {server}"):
            r = self.world.client.run(argv, check=False, timeout=90)
        assert (r.returncode, r.stdout) == (0, "ok\n"), f"{r.returncode}\n{r.stdout}\n{r.stderr}"

    def close(self):
        for p in reversed(list(self.running.values())):
            p.stop()


@pytest.fixture(scope="module")
def applications(make_world, fabric):
    a = Applications(make_world().base(), fabric.folder)
    yield a
    a.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_client(applications, client):
    applications.run(client, REFERENCE)


@pytest.mark.parametrize("server", SERVERS)
def test_server(applications, server):
    without = WITHOUT.get(server, []) if server != "nginx" else []
    applications.run("python timeout", server, None, *without)


@pytest.mark.parametrize("relay", RELAYS)
def test_client_that_is_a_proxy(applications, relay):
    applications.run("python timeout", REFERENCE, applications.relay(relay, REFERENCE),
                     *WITHOUT.get(relay, []))


def test_curl(applications, tmp_path):
    """Large ones up and down, one slowly, on one connection."""
    base = f"http://{applications.vip}:{PORTS[applications.server(REFERENCE)]}"
    files = applications.builder.files()
    argv = ["curl", "-sS", "--fail", "-w", "%{num_connects} "]
    for n in (1, 1000, 100000, 1000000, 6000000):
        argv += ["-o", str(tmp_path / str(n)), f"{base}/down/{n}"]
    argv += ["--next", "-sS", "--fail", "-w", "%{num_connects} ", "--limit-rate", "3M",
             "-o", str(tmp_path / "1500000"), f"{base}/down/1500000"]
    for n in (1, 1000, 6000000):
        argv += ["--next", "-sS", "--fail", "-w", " %{num_connects} ", "-H", "Expect:",
                 "-T", f"{files}/down/{n}", "-X", "POST", f"{base}/up/{n}"]
    out = applications.world.client.run(argv, timeout=60).stdout
    assert out.split() == "1 0 0 0 0 0 1 ok 0 1000 ok 0 6000000 ok 0".split(), out
    for n in (1, 1000, 100000, 1000000, 6000000, 1500000):
        assert (tmp_path / str(n)).read_bytes() == open(f"{files}/down/{n}", "rb").read(), n


# The same exchanges, of a program that uses its sockets in each way that there is.

# splice(2) last: from then on the kernel leaves the server's port on TCP.
MODES = ["epoll", "epollet", "etshort", "poll", "block", "uring", "sendfile", "zerocopy", "peek", "waitall", "lowat",
         "fionread", "mmsg", "iov", "dup", "info", "tiny", "splice"]


def test_urgent_data(applications):
    """A byte out of band between two requests stays out of the band."""
    with spliced.shown(applications.world, "urgent data"):
        done = applications.never_spliced.run(
            "--seed", "urgent", "--client-mode", "epollet", "--server-mode", "epollet", "--no-faults", "--no-changes",
            "--kind", 0, "--urgent", 50, "--conns", 16, "--clients", 4, "--max-steps", 12, "--max-body", 10000,
            seconds=int(scaled(30)), copy="soak-urgent")
    assert done["connections"] == 16 and done["failures"] == 0


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("mode", MODES)
def test_way_to_use_a_socket(applications, mode, side):
    other = "server" if side == "client" else "client"
    with spliced.shown(applications.world, f"{mode} as {side}"):
        done = (applications.never_spliced if mode == "mmsg" else applications.soak).run(
            "--seed", mode, f"--{side}-mode", mode, f"--{other}-mode", "epollet", "--no-faults", "--no-changes",
            "--urgent", 0, "--conns", 16, "--clients", 4, "--max-steps", 12, "--max-body", 1000000,
            seconds=int(scaled(30)), copy=f"soak-{mode}-{side}")
    assert done["connections"] == 16 and done["failures"] == 0
