"""A server that refuses as the hub does: gated, private or absent, a bad token."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATED, ABSENT = "google/gemma-3-1b-it", "Qwen/Qwen3-99B"
TOKEN = "hf_goodgoodgoodgoodgoodgood"


class Hub(BaseHTTPRequestHandler):
    """Lets TOKEN read everything that exists, and others what is not gated."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != TOKEN:
            return self._answer(401, None)
        if ABSENT in self.path:
            return self._answer(401, "RepoNotFound")
        if GATED in self.path and token != TOKEN:
            return self._answer(401 if not token else 403, "GatedRepo")
        return self._answer(200 if self.path.endswith("auth-check") else 404, None)

    def _answer(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def hub() -> Iterator[tuple[str, list[str]]]:
    """Yield the server's address, and the paths that it was asked for."""
    handler = type("Handler", (Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
