#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A backend of tools/demo: Python's own HTTP server, answering with what it was asked."""
import http.server
import sys
import time

NAME = sys.argv[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one segment

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(2)
        fields = [NAME, self.path, f"Host={self.headers['Host']}", f"client={self.client_address[0]}"]
        if self.headers["X-Rule"]:
            fields.append(f"X-Rule={self.headers['X-Rule']}")
        body = (" ".join(fields) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that gave up, as a timed-out request does, is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


Server(("0.0.0.0", 8080), Handler).serve_forever()
