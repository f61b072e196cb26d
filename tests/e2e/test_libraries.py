# SPDX-License-Identifier: Apache-2.0
"""Clients and servers that people write programs with: Python's httpx and websockets, nghttp; grpcurl where SLUICE_INTEROP=1 asks
for it, as building it takes a minute."""
import asyncio
import os
import re
import shutil
import subprocess

import httpx
import pytest
import websockets

from harness import manifests as m
from harness.wait import scaled, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
WS_PORT = 9301


async def echo(ws):
    await ws.send(f"you asked for {ws.path}")
    async for message in ws:
        if message == "bye":
            await ws.close(4001, "as you say")
            return
        await ws.send(message)


def serve_websockets(task):
    async def run():
        async with websockets.serve(echo, "0.0.0.0", WS_PORT, max_size=None):
            task.report()
            await asyncio.get_running_loop().run_in_executor(None, task.wait_stop, 600)
    asyncio.run(run())


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    w.add_service("one", [w.a], [m.port(80, 8080, app_protocol="http")], vip=("10.96.0.111", "fd00:96::111"))
    w.add_service("two", [w.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.112", "fd00:96::112"))
    w.add_service("chat", [w.c], [m.port(80, WS_PORT)], vip=("10.96.0.113", "fd00:96::113"))
    w.route("web", [m.rule(m.path("/one"), "one"), m.rule(m.path("/two"), "two"), m.rule(m.path("/chat"), "chat")])
    server = w.spawn(w.c, serve_websockets)
    server.next_report()
    w.start()
    yield w
    server.stop()
    server.result()


@pytest.mark.parametrize("target", ["/one", "/two"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_httpx(mesh, version, target):
    """Many at a time from one client with its pool; bodies both ways, streamed and whole."""
    host = mesh.vips["web"][0]
    n = 12

    async def one(client, i):
        sent = os.urandom(i * 9000)
        r = await client.post(f"http://{host}{target}", content=sent, params={"chunked": i % 2})
        return r.http_version, r.status_code, r.json()["body_len"] == len(sent)

    async def read(client):
        size = 300000
        async with client.stream("GET", f"http://{host}{target}", params={"size": size, "chunked": 1}) as r:
            return sum([len(part) async for part in r.aiter_raw()]) == size

    def run():
        async def go():
            async with httpx.AsyncClient(http1=version == "HTTP/1.1", http2=version == "HTTP/2",
                                         timeout=scaled(20)) as client:
                return await asyncio.gather(*(one(client, i) for i in range(n)), *(read(client) for _ in range(3)))
        return asyncio.run(go())
    assert mesh.client.call(run, timeout=60) == [(version, 200, True)] * n + [True] * 3


def test_websockets(mesh):
    """Compressed frames, fragments, pings, and the code of the end."""
    url = f"ws://{mesh.vips['web'][0]}/chat"
    big = os.urandom(400000)

    def run():
        async def go():
            async with websockets.connect(url, max_size=None, open_timeout=scaled(10)) as ws:
                seen = [await ws.recv()]
                for message in ("words " * 1000, big, ["in ", "three ", "parts"]):
                    await ws.send(message)
                    seen.append(await ws.recv())
                await asyncio.wait_for(await ws.ping(), scaled(10))
                await ws.send("bye")
                await ws.wait_closed()
                return seen, ws.extensions[0].name, ws.close_code, ws.close_reason
        return asyncio.run(go())
    seen, extension, code, reason = mesh.client.call(run, timeout=60)
    assert seen == ["you asked for /chat", "words " * 1000, big, "in three parts"]
    assert (extension, code, reason) == ("permessage-deflate", 4001, "as you say")


@pytest.mark.parametrize("extra", [[], ["--upgrade"]], ids=["prior knowledge", "upgrade"])
def test_nghttp(mesh, extra):
    out = mesh.client.run(["nghttp", "-nv", *extra, *(f"http://{mesh.vips['web'][0]}{target}" for target in ("/one", "/two"))])
    assert re.findall(r":status: (\d+)", out.stdout) == ["200", "200"], out.stdout


@pytest.mark.interop
def test_grpcurl(mesh, fabric):
    """It asks the server what it has before it calls."""
    go = shutil.which("go", path="/usr/bin:/usr/local/go/bin:" + os.environ["PATH"])
    build = lambda name, folder: subprocess.run(  # noqa: E731
        [go, "build", "-o", os.path.join(fabric.folder, name), *folder[1:]], check=True, cwd=os.path.join(HERE, "clients", folder[0]),
        env=dict(os.environ, GOFLAGS="-mod=mod", CGO_ENABLED="0"))
    build("grpc-go", ["grpc", "."])
    build("grpcurl", ["grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl"])
    server = mesh.a.popen([os.path.join(fabric.folder, "grpc-go"), "serve", ":9302"])
    try:
        mesh.add_service("calls", [mesh.a], [m.port(80, 9302)], vip=("10.96.0.114", "fd00:96::114"))
        mesh.grpc_route("calls", [{"matches": [{"method": {"service": "grpc.reflection.v1alpha.ServerReflection"}}],
                                   **m.rule(backends="calls")},
                                  {"matches": [{"method": {"service": "grpc.testing.TestService", "method": "UnaryCall"}}],
                                   **m.rule(backends="calls")}], parents=["calls"])
        wait_for(lambda: any(r["name"] == "calls" for r in mesh.ctl("routes")["routes"]), 10)
        addr = "%s:80" % mesh.vips["calls"][0]
        call = lambda *argv: mesh.client.run(  # noqa: E731
            [os.path.join(fabric.folder, "grpcurl"), "-plaintext", *argv], timeout=60, check=False)
        wait_for(lambda: "grpc.testing.TestService" in call(addr, "list").stdout, 20, what="the server's services")
        r = call("-d", '{"response_size": 5}', addr, "grpc.testing.TestService/UnaryCall")
        assert '"body": "AAAAAAA="' in r.stdout, r.stderr
        r = call(addr, "grpc.testing.TestService/EmptyCall")
        assert "Code: Unimplemented" in r.stderr, "no rule matches it"
    finally:
        server.kill()
        server.wait()
