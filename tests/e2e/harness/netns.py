# SPDX-License-Identifier: Apache-2.0
"""Network namespaces as files in a folder of our own, and processes inside them."""
import ctypes
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import time
import traceback

from .wait import scaled

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


def _check(result, what):
    if result != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")


def setns(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, CLONE_NEWNET), f"setns {path}")
    finally:
        os.close(fd)


def mount(source, target, fstype=None, flags=0, options=None):
    enc = lambda s: s.encode() if s is not None else None  # noqa: E731
    _check(_libc.mount(enc(source), enc(target), enc(fstype), flags, enc(options)),
           f"mount {source} on {target}")


def umount(target):
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def create(path):
    """A new network namespace, kept by a bind mount on path, as ip-netns(8) does it."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    pid = os.fork()
    if pid == 0:
        try:
            unshare(CLONE_NEWNET)
            mount("/proc/self/ns/net", path, None, MS_BIND)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        os.unlink(path)
        raise RuntimeError(f"no network namespace at {path}")


def delete(path):
    try:
        umount(path)
    except OSError:
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


class Entry:
    """Where a process runs: network namespace and cgroup. Used between fork and exec."""

    def __init__(self, netns=None, cgroup=None):
        self.netns, self.cgroup = netns, cgroup

    def __call__(self):
        # The namespace first: nobody in our cgroup is ever seen in the namespace of the machine.
        if self.netns:
            setns(self.netns)
        if self.cgroup:
            with open(os.path.join(self.cgroup, "cgroup.procs"), "w") as f:
                f.write("0")

    def run(self, argv, timeout=30, check=True, text=True, **kw):
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        result = subprocess.run(argv, preexec_fn=self, timeout=scaled(timeout), text=text, **kw)
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {result.returncode}\n"
                                 f"{result.stdout}\n{result.stderr}")
        return result

    def popen(self, argv, **kw):
        return subprocess.Popen(argv, preexec_fn=self, **kw)

    def ip(self, *lines):
        """Commands for ip(8) in this namespace, in one batch."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def call(self, fn, *args, timeout=30):
        """fn(*args) in a process inside; its result or its exception comes back."""
        return self.spawn(lambda task: fn(*args)).result(timeout)

    def spawn(self, fn, *args):
        """fn(task, *args) in a process inside, beside the test."""
        return Task(self, fn, args)


class Task:
    """A forked child that runs a Python function. In the child: report(), stopping(). In the
    parent: reports(), stop(), result(), kill()."""

    _HEAD = struct.Struct("!cI")

    def __init__(self, entry, fn, args):
        self._parent, self._child = socket.socketpair()
        self._value = None
        self._done = False
        self._queue = []
        self.pid = os.fork()
        if self.pid == 0:
            self._run_child(entry, fn, args)
        self._child.close()

    def _run_child(self, entry, fn, args):
        status = 1
        try:
            self._parent.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            entry()
            self._send(b"r", fn(self, *args))
            status = 0
        except BaseException as e:
            text = traceback.format_exc()
            try:
                self._send(b"e", (e, text))
            except Exception:
                self._send(b"e", (RuntimeError(repr(e)), text))
        finally:
            os._exit(status)

    def _send(self, kind, value):
        body = pickle.dumps(value)
        self._child.sendall(self._HEAD.pack(kind, len(body)) + body)

    # in the child

    def report(self, value=None):
        self._send(b"m", value)

    def stopping(self):
        return bool(select.select([self._child], [], [], 0)[0])

    def wait_stop(self, timeout=60):
        select.select([self._child], [], [], scaled(timeout))

    # in the parent

    def _recv(self, n, deadline):
        data = b""
        while len(data) < n:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._parent], [], [], left)[0]:
                self.kill()
                raise AssertionError("a helper process inside a pod did not answer in time")
            part = self._parent.recv(n - len(data))
            if not part:
                self.kill()
                raise AssertionError("a helper process inside a pod died")
            data += part
        return data

    def _next(self, timeout):
        deadline = time.monotonic() + scaled(timeout)
        kind, size = self._HEAD.unpack(self._recv(self._HEAD.size, deadline))
        return kind, pickle.loads(self._recv(size, deadline))

    def next_report(self, timeout=30):
        kind, value = self._next(timeout)
        if kind == b"m":
            return value
        self._finish(kind, value)
        raise AssertionError(f"the helper process ended: {value!r}")

    def stop(self):
        self._parent.shutdown(socket.SHUT_WR)

    def result(self, timeout=30):
        while not self._done:
            kind, value = self._next(timeout)
            if kind == b"m":
                self._queue.append(value)
            else:
                self._finish(kind, value)
        return self._value

    def _finish(self, kind, value):
        self._done = True
        self._reap()
        if kind == b"e":
            error, text = value
            if hasattr(error, "add_note"):
                error.add_note(text)
            raise error
        self._value = value

    def stop_and_result(self, timeout=30):
        self.stop()
        return self.result(timeout)

    def _reap(self):
        self._parent.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0

    def kill(self):
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._reap()
