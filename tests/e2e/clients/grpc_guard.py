# SPDX-License-Identifier: Apache-2.0
"""An authorization service over gRPC (envoy.service.auth.v3) by grpcio: PORT. Its verdict goes by what the path holds. Messages
are written by hand: Debian has grpcio and not Envoy's .proto files."""
import sys
from concurrent import futures

import grpc


def field(number, *parts):
    """Of bytes or text, or a message of the fields that are given; shorter than 128 bytes."""
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    assert len(body) < 128
    return bytes([number << 3 | 2, len(body)]) + body


def number(number, value):
    return bytes([number << 3]) + (bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7]))


def header(name, value, how=b""):
    return field(1, field(1, name), field(2, value)) + how


ALLOWED = [field(2, header("x-user", "me")),
           field(2, header("content-length", "1")), field(5, "x-secret"),
           field(6, header("x-quota", "3")), field(6, header("x-echo", "guard", number(3, 2))),
           field(6, header("x-absent", "guard", number(3, 3))), field(6, header("content-length", "1"))]
QUERY = [field(7, field(1, "user"), field(2, "a b&c")), field(8, "token")]
DENIED = field(1, number(1, 7)) + field(2, field(1, number(1, 429)), field(2, header("retry-after", "7")), field(3, "slow down"))


def long_field(number, body):
    return bytes([number << 3 | 2, len(body) & 127 | 128, len(body) >> 7]) + body


def check(request, context):
    return DENIED if b"/denied" in request else long_field(3, b"".join(ALLOWED + QUERY))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "envoy.service.auth.v3.Authorization", {"Check": grpc.unary_unary_rpc_method_handler(check)})])
    server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


main()
