# SPDX-License-Identifier: Apache-2.0
"""grpc_client.py ADDR [CASE...]: kinds of calls by Debian's grpcio over one channel; prints what came of each as JSON.

grpc_client.py ADDR load: calls, and streams of messages, until a line comes on stdin; prints their numbers."""
import json
import sys
import threading
import time

import grpc

ADDR = sys.argv[1]
channel = grpc.insecure_channel(ADDR, options=[
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 100), ("grpc.keepalive_permit_without_calls", 1), ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
    # Under load agents change: what a connection that goes away did not begin is asked on the next, as by default.
    ("grpc.enable_retries", int(sys.argv[2:] == ["load"]))])
P = "/pkg.Echo/"


def error(fn):
    try:
        fn()
        return None
    except grpc.RpcError as e:
        return [e.code().name, e.details()]


def unary():
    answer, call = channel.unary_unary(P + "Unary").with_call(
        b"hello", metadata=(("x-asked", "plain"), ("x-asked-bin", b"\0\xfe")), timeout=10)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    return [answer.decode(), initial["x-initial"], trailing["x-trailing-bin"].hex(), trailing["x-seen"],
            trailing["x-seen-hex"], call.code().name]


def empty():
    return len(channel.unary_unary(P + "Unary")(b"", timeout=10))


def big():
    message = bytes(range(256)) * (16 << 10)
    return channel.unary_unary(P + "Unary")(message, timeout=30) == message


def gather():
    return channel.stream_unary(P + "Gather")((b"x" * i * 100 for i in range(100)), timeout=10).decode()


def scatter():
    return sum(len(m) for m in channel.unary_stream(P + "Scatter")(b"200 5000", timeout=10))


def both():
    """Each message after the answer to the one before."""
    turn, n = threading.Semaphore(1), 0

    def ask():
        for i in range(50):
            turn.acquire()
            yield b"%d" % i
    for m in channel.stream_stream(P + "Both")(ask(), timeout=20):
        assert m == b"%d" % n
        n += 1
        turn.release()
    return n


def status():
    try:
        channel.unary_unary(P + "Fail")(b"", timeout=10)
    except grpc.RpcError as e:
        return [e.code().name, e.details(), dict(e.trailing_metadata())["grpc-status-details-bin"].hex()]


def deadline():
    begin = time.monotonic()
    code = error(lambda: channel.unary_unary(P + "Late")(b"", timeout=0.3))[0]
    return [code, time.monotonic() - begin < 5, channel.unary_unary(P + "WasCancelled")(b"", timeout=15).decode()]


def cancel():
    call = channel.unary_stream(P + "Endless")(b"", timeout=20)
    got = [next(call), next(call)]
    call.cancel()
    return [len(got), error(lambda: next(call))[0], channel.unary_unary(P + "WasCancelled")(b"", timeout=15).decode()]


def unknown():
    return error(lambda: channel.unary_unary(P + "Nothing")(b"", timeout=10))[0]


def unrouted():
    return error(lambda: channel.unary_unary("/pkg.Other/Nothing")(b"", timeout=10))[0]


def keepalive():
    """Pings of ours all the time; the answer takes longer than many of them."""
    call = channel.unary_stream(P + "Endless")(b"", timeout=1.2)
    n = 0
    code = None
    try:
        for _ in call:
            n += 1
    except grpc.RpcError as e:
        code = e.code().name
    return [n > 20, code]


def parallel():
    calls = [channel.unary_unary(P + "Unary").future(b"%d" % i, timeout=20) for i in range(200)]
    return [c.result() == b"%d" % i for i, c in enumerate(calls)].count(True)


def pods():
    seen = {}
    for _ in range(20):
        _, call = channel.unary_unary(P + "Unary").with_call(b"", timeout=10)
        pod = dict(call.initial_metadata())["pod"]
        seen[pod] = seen.get(pod, 0) + 1
    return seen


def load():
    stop, failed, counts = threading.Event(), [], [0, 0]

    def calls():
        unary = channel.unary_unary(P + "Unary")
        while not stop.is_set():
            try:
                assert unary(b"x", timeout=30) == b"x"
                counts[0] += 1
            except grpc.RpcError as e:
                failed.append([e.code().name, e.details()])

    def messages():
        while not stop.is_set():
            turn = threading.Semaphore(1)

            def ask():
                for _ in range(100):
                    turn.acquire()
                    yield b"m"
            try:
                for _ in channel.stream_stream(P + "Both")(ask(), timeout=30):
                    counts[1] += 1
                    time.sleep(0.005)
                    turn.release()
            except grpc.RpcError as e:
                failed.append([e.code().name, e.details()])
    workers = [threading.Thread(target=f) for f in (calls, calls, calls, messages)]
    for w in workers:
        w.start()
    while not all(counts) and not failed:
        time.sleep(0.01)
    print("begun", flush=True)
    sys.stdin.readline()
    stop.set()
    for w in workers:
        w.join()
    return {"calls": counts[0], "messages": counts[1], "failed": failed}


grpc.channel_ready_future(channel).result(timeout=10)
if sys.argv[2:] == ["load"]:
    print(json.dumps(load()))
else:
    for case in ([globals()[name] for name in sys.argv[2:]] or
                 (unary, empty, big, gather, scatter, both, status, deadline, cancel, unknown, unrouted, keepalive, parallel,
                  pods)):
        print(json.dumps([case.__name__, case()]), flush=True)
channel.close()
