# SPDX-License-Identifier: Apache-2.0
"""The agent under test: start, stop, kill, freeze; its log is read for sanitizer reports."""
import json
import os
import re
import signal
import subprocess

from .wait import scaled, wait_for

_REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:exitcode=99:detect_leaks=1:quarantine_size_mb=32:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=98:second_deadlock_stack=1",
}


def build_dir():
    path = os.environ.get("SLUICE_BUILD")
    assert path, "SLUICE_BUILD names the build directory with sluiced and sluicectl"
    return path


def binary(name, build=None):
    """build: another build folder than SLUICE_BUILD."""
    build = build or build_dir()
    for folder in ("", "agent", "agent/core", "tools", "tools/sluicectl", "tests/e2e"):
        path = os.path.join(build, folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"no {name} in {build}")


def sanitized():
    with open(os.path.join(build_dir(), "meson-info", "intro-buildoptions.json")) as f:
        options = {o["name"]: o["value"] for o in json.load(f)}
    return options.get("b_sanitize", "none") != "none"


def memory_budget(n):
    """What the agent may grow by; a sanitizer build keeps freed memory and pads the rest."""
    return n * 4 if sanitized() else n


class Agent:
    def __init__(self, entry, log_path, argv, env=None, wrapper=(), program=None):
        """entry: where it runs. wrapper: words before the command, as of unshare(1). program: its path."""
        self.log_path = log_path
        self.argv = [*wrapper, program or binary("sluiced"), *argv]
        environment = dict(os.environ, **SANITIZER_ENV, **(env or {}))
        with open(log_path, "a") as log:
            self.process = entry.popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.pid = self.process.pid

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=15):
        try:
            return self.process.wait(scaled(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end in {scaled(timeout)} s") from None

    def stop(self, timeout=15):
        """SIGTERM; the exit status has to be 0."""
        if self.running():
            self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        assert status == 0, f"the agent ended with {status}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        """Returns when it stands still, or has ended."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check_log(self):
        text = self.log()
        found = _REPORTS.search(text)
        assert not found, f"the agent's log has a report:\n{text[max(0, found.start() - 200):][:6000]}"

    def wait_log(self, pattern, timeout=10):
        return wait_for(lambda: re.search(pattern, self.log()), timeout, what=f"{pattern!r} in the agent's log")
