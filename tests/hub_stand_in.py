"""Servers in the place of the hub: one that refuses as it does, and one that serves a folder."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

GATED, ABSENT = "google/gemma-3-1b-it", "Qwen/Qwen3-99B"
TOKEN = "hf_goodgoodgoodgoodgoodgood"


class Hub(BaseHTTPRequestHandler):
    """Refuses: gated, private or absent, a bad token. Lets TOKEN read everything that exists, others what is not gated."""

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


class FolderHub(BaseHTTPRequestHandler):
    """Serves models/ORG/NAME and datasets/ORG/NAME of a folder to the hub's client libraries; one commit of each."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    root: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = unquote(urlsplit(self.path).path).strip("/")
        if file := re.fullmatch(r"(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            kind = "datasets" if file[1] else "models"
            return self._send_file(self.root / kind / file[2], file[3])
        if asked := re.fullmatch(r"api/(models|datasets)/([^/]+/[^/]+)(?:/(.+))?", path):
            return self._describe(self.root / asked[1] / asked[2], asked[3] or "")
        return self._send(404)

    def _describe(self, repository: Path, question: str) -> None:
        if not repository.is_dir():
            return self._send(404, X_Error_Code="RepoNotFound")
        if question == "auth-check":
            return self._send(200, b"{}")
        if not question or question.startswith("revision/"):
            about = {"id": "/".join(repository.parts[-2:]), "sha": _commit(repository), "tags": [], "private": False}
            files = [{"rfilename": str(path.relative_to(repository))} for path in _files(repository)]
            return self._send(200, json.dumps(about | {"siblings": files}).encode())
        if listed := re.fullmatch(r"tree/[^/]+(?:/(.+))?", question):
            folder = repository / (listed[1] or "")
            if folder.is_dir():
                paths = _files(folder) if "recursive=true" in self.path.lower() else sorted(folder.iterdir())
                entries = [_entry(path, repository) for path in paths]
                return self._send(200, json.dumps(entries).encode())
        return self._send(404, X_Error_Code="EntryNotFound")

    def _send_file(self, repository: Path, name: str) -> None:
        if not repository.is_dir():
            return self._send(404, X_Error_Code="RepoNotFound")
        commit, path = _commit(repository), repository / name
        if not path.is_file():
            return self._send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        return self._send(200, path.read_bytes(), ETag=f'"{_sha256(path)}"', X_Repo_Commit=commit)

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _entry(path: Path, repository: Path) -> dict[str, object]:
    name, is_file = str(path.relative_to(repository)), path.is_file()
    size, oid = (path.stat().st_size, _sha256(path)[:40]) if is_file else (0, "0" * 40)
    return {"type": "file" if is_file else "directory", "path": name, "size": size, "oid": oid}


def _commit(repository: Path) -> str:
    return hashlib.sha1("/".join(repository.parts[-2:]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def hub(root: Path | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server, and the paths that it was asked for.

    Args:
        root: what it serves (`FolderHub`); None for the one that refuses (`Hub`).
    """
    kind, more = (Hub, {}) if root is None else (FolderHub, {"root": root})
    handler = type("Handler", (kind,), {"asked": [], **more})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
