"""A small server of chat replies on the loopback, for tests of its clients."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class ChatStandIn:
    """Answer each request by `respond(its number, its content)`: a reply's text, or (status, body)."""

    def __init__(self, respond):
        self.requests, self.headers, self.in_flight, self.max_in_flight = [], [], 0, 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                self._send(200, json.dumps({"data": [{"id": "org/judge"}, {"id": "other"}]}).encode())

            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append(content)
                    outer.headers.append(dict(self.headers))
                    number = len(outer.requests)
                    outer.in_flight += 1
                    outer.max_in_flight = max(outer.max_in_flight, outer.in_flight)
                answer = respond(number, content)
                with lock:
                    outer.in_flight -= 1
                if isinstance(answer, str):
                    self._send(200, json.dumps({"choices": [{"message": {"content": answer}}]}).encode())
                else:
                    self._send(*answer)

            def _send(self, status, body, **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(headers.get("cut", 0) or len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def serve():
    """Start a stand-in with a `respond`; all are closed after the test."""
    servers = []

    def start(respond):
        servers.append(ChatStandIn(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
