# SPDX-License-Identifier: Apache-2.0
"""A backend process in a pod, and the unix socket over which it tells what it saw."""
import json
import os
import socket
import subprocess
import sys

from .rawhttp import Seen
from .wait import scaled, wait_for

PORTS = {"http": 8080, "h2": 9100, "echo": 9000, "banner": 9001, "sink": 9002, "source": 9003, "tls": 8443, "udp": 5353}


class Backend:
    def __init__(self, pod, folder, cert=None, listen=None):
        self.pod = pod
        self.control = os.path.join(folder, f"{pod.name}.ctl")
        self.log = open(os.path.join(folder, f"{pod.name}.log"), "w")
        specs = listen or [f"{k}:{p}" for k, p in PORTS.items() if k != "tls" or cert]
        script = os.path.join(os.path.dirname(__file__), "echo.py")
        argv = [sys.executable, script, "--pod", pod.name, "--control", self.control]
        if cert:
            argv += ["--cert", cert]
        self.process = pod.popen(argv + specs, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait_ready(self):
        wait_for(self._ready, 15, what=f"backend in {self.pod.name}")
        return self

    def _ready(self):
        assert self.process.poll() is None, f"backend in {self.pod.name} ended, see {self.log.name}"
        return os.path.exists(self.control) and self.stats()

    def _command(self, **command):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(scaled(10))
            s.connect(self.control)
            s.sendall(json.dumps(command).encode() + b"\n")
            return json.loads(s.makefile("rb").readline())

    def seen(self):
        return [Seen(r) for r in self._command(cmd="seen")]

    def stats(self):
        return self._command(cmd="stats")

    def reset(self):
        self._command(cmd="reset")

    def set(self, **settings):
        """Options of echo.py that hold for every request until the next reset."""
        self._command(cmd="set", settings=settings)

    def close_port(self, port):
        self._command(cmd="close", port=port)

    def listen(self, kind, port):
        self._command(cmd="listen", kind=kind, port=port)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        if os.path.exists(self.control):
            os.unlink(self.control)
