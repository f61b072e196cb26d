# SPDX-License-Identifier: Apache-2.0
"""gRPC by clients and servers of others: Debian's grpcio here; grpc-go's own cases where SLUICE_INTEROP=1 asks for them, as
building them takes a minute."""
import json
import os
import shutil
import subprocess

import pytest

from harness import manifests as m
from harness.wait import scaled, wait_for

CLIENTS = os.path.join(os.path.dirname(__file__), "clients")
PYTHON = "/usr/bin/python3"
PORT = 9300


def serve(pod, name, argv=None):
    return pod.popen(argv or [PYTHON, os.path.join(CLIENTS, "grpc_server.py"), str(PORT), name])


def listens(pod, port=PORT):
    return f":{port} " in pod.run(["ss", "-ltnH"]).stdout


@pytest.fixture(scope="module")
def mesh(make_world):
    w = make_world().base()
    servers = [serve(w.a, "a"), serve(w.b, "b")]
    w.add_service("echo", [w.a], [m.port(80, PORT, app_protocol="kubernetes.io/h2c")], vip=("10.96.0.101", "fd00:96::101"))
    w.add_service("pair", [w.a, w.b], [m.port(80, PORT)], vip=("10.96.0.102", "fd00:96::102"))
    echo = {"matches": [{"method": {"service": "pkg.Echo"}}]}
    w.grpc_route("echo", [{**echo, **m.rule(backends="echo")}], parents=["echo"])
    w.grpc_route("pair", [{**echo, **m.rule(backends="pair")}], parents=["pair"])
    w.start()
    wait_for(lambda: listens(w.a) and listens(w.b), 20)
    yield w
    for s in servers:
        s.kill()
        s.wait()


def run(mesh, service, *cases):
    p = mesh.client.run([PYTHON, os.path.join(CLIENTS, "grpc_client.py"), "%s:80" % mesh.vips[service][0], *cases],
                        timeout=90, check=False)
    return {**dict(map(json.loads, p.stdout.splitlines())), "stderr": p.stderr}


@pytest.fixture(scope="module")
def answers(mesh):
    """Of one client's run; a case that it did not come to is missing."""
    return run(mesh, "echo")


CASES = {
    "unary": ["hello", "first", "0001ff", "plain", "00fe", "OK"],
    "empty": 0,
    "big": True,
    "gather": "495000",
    "scatter": 1000000,
    "both": 50,
    "status": ["FAILED_PRECONDITION", "no: 100% \u00fc \n", "08091204" + b"why?".hex()],
    "deadline": ["DEADLINE_EXCEEDED", True, "yes"],
    "cancel": [2, "CANCELLED", "yes"],
    "unknown": "UNIMPLEMENTED",
    "unrouted": "UNIMPLEMENTED",
    "keepalive": [True, "DEADLINE_EXCEEDED"],
    "parallel": 200,
    "pods": {"a": 20},
}


@pytest.mark.parametrize("case", CASES)
def test_a_call(answers, case):
    assert answers.get(case, answers["stderr"]) == CASES[case]


def test_calls_of_one_channel_are_balanced(mesh):
    answers = run(mesh, "pair", "pods")
    assert answers.get("pods", answers["stderr"]) == {"a": 10, "b": 10}


# ---- grpc-go ----

@pytest.fixture(scope="module")
def grpc_go(fabric):
    go = shutil.which("go", path="/usr/bin:/usr/local/go/bin:" + os.environ["PATH"])
    target = os.path.join(fabric.folder, "grpc-go")
    subprocess.run([go, "build", "-o", target, "."], check=True, cwd=os.path.join(CLIENTS, "grpc"),
                   env=dict(os.environ, GOFLAGS="-mod=mod", CGO_ENABLED="0"))
    return target


GO_CASES = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
            "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
            "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service"]


@pytest.mark.interop
def test_grpc_go(mesh, grpc_go):
    server = serve(mesh.c, "c", [grpc_go, "serve", ":9301"])
    try:
        mesh.add_service("go", [mesh.c], [m.port(80, 9301)], vip=("10.96.0.103", "fd00:96::103"))
        mesh.grpc_route("go", [m.rule(backends="go")], parents=["go"])
        wait_for(lambda: listens(mesh.c, 9301), 20)
        addr = "%s:80" % mesh.vips["go"][0]
        wait_for(lambda: any(r["name"] == "go" for r in mesh.ctl("routes")["routes"]), 10)
        p = mesh.client.run([grpc_go, "cases", addr], timeout=120, check=False)
        assert [line.split()[1] for line in p.stdout.splitlines()] == GO_CASES, p.stderr
        p = mesh.client.run([grpc_go, "load", addr, "5000", "20"], timeout=120, check=False)
        assert p.stdout.startswith("5000 ok, 0 failed, "), p.stdout + p.stderr
    finally:
        server.kill()
        server.wait()


# ---- another agent takes over ----

def test_no_call_fails_while_agents_change(mesh):
    """GOAWAY in two steps: calls on their way are served, streams go on until they end."""
    client = mesh.client.popen([PYTHON, os.path.join(CLIENTS, "grpc_client.py"), "%s:80" % mesh.vips["pair"][0], "load"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline() == "begun\n"
        for _ in range(2):
            mesh.upgrade()
        out, _ = client.communicate("\n", timeout=scaled(40))
    finally:
        client.kill()
        client.wait()
    seen = json.loads(out)
    assert seen["failed"] == [] and seen["calls"] > 100 and seen["messages"] > 20, seen
