# SPDX-License-Identifier: Apache-2.0
"""grpc_server.py PORT NAME [CERT KEY]: service pkg.Echo by Debian's grpcio, without a schema; messages are bytes. In TLS with
files of a certificate and its key."""
import concurrent.futures
import sys
import threading
import time

import grpc

PORT, NAME, *TLS = sys.argv[1:]
cancelled = threading.Event()


def unary(request, context):
    context.send_initial_metadata((("x-initial", "first"), ("pod", NAME)))
    seen = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-trailing-bin", b"\0\1\xff"), ("x-seen", seen.get("x-asked", "")),
                                   ("x-seen-hex", seen.get("x-asked-bin", b"").hex())))
    return request


def gather(requests, context):
    return b"%d" % sum(len(r) for r in requests)


def scatter(request, context):
    n, size = map(int, request.split())
    for i in range(n):
        yield bytes([i % 256]) * size


def both(requests, context):
    for r in requests:
        yield r


def fail(request, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09\x12\x04why?"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100% \u00fc \n")


def late(request, context):
    """Until the caller gives up, which its own deadline or cancel() says."""
    gone = threading.Event()
    context.add_callback(gone.set)
    if gone.wait(20):
        cancelled.set()
    return b"late"


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(10) else b"no"


def endless(request, context):
    context.add_callback(cancelled.set)
    cancelled.clear()
    while context.is_active():
        yield b"x"
        time.sleep(0.01)


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Scatter": grpc.unary_stream_rpc_method_handler(scatter),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Late": grpc.unary_unary_rpc_method_handler(late),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    "Endless": grpc.unary_stream_rpc_method_handler(endless),
}

server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), options=[
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10), ("grpc.http2.max_ping_strikes", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pkg.Echo", HANDLERS),))
if TLS:
    cert, key = (open(name, "rb").read() for name in TLS)
    server.add_secure_port(f"0.0.0.0:{PORT}", grpc.ssl_server_credentials([(key, cert)]))
else:
    server.add_insecure_port(f"0.0.0.0:{PORT}")
server.start()
server.wait_for_termination()
