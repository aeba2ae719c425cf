"""A small server of chat replies on the loopback, for tests of who asks one."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatStandIn:
    """Answers by `says(number of this request, its content)`: a reply's text, or (status, body)."""

    def __init__(self, says):
        self.asked, self.headers, self.together, self.most = [], [], 0, 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                self._send(200, json.dumps({"data": [{"id": "org/judge"}, {"id": "other"}]}).encode())

            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(content)
                    outer.headers.append(dict(self.headers))
                    number = len(outer.asked)
                    outer.together += 1
                    outer.most = max(outer.most, outer.together)
                said = says(number, content)
                with lock:
                    outer.together -= 1
                if isinstance(said, str):
                    self._send(200, json.dumps({"choices": [{"message": {"content": said}}]}).encode())
                else:
                    self._send(*said)

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
