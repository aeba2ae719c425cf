"""The three questions that pinning asks of the world, over plain HTTPS: a digest, a commit, a revision."""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)


class PinError(Exception):
    """A name that could not be looked up: one line. `host` is set where that host did not answer at all."""

    def __init__(self, text: str, host: str | None = None) -> None:
        super().__init__(text)
        self.host = host


@dataclass(frozen=True)
class Addresses:
    """Where to ask. A registry that an image names itself (ghcr.io/...) is asked there."""

    hub: str = "https://huggingface.co"
    github: str = "https://api.github.com"
    docker_hub: str = "https://registry-1.docker.io"


def image_digest(image: str, addresses: Addresses) -> str:
    """Digest of `name:tag` (of the index, where the image has several platforms).

    Raises:
        PinError: no tag, no such image, or no answer.
    """
    name, _, tag = image.rpartition(":")
    if not name or "/" in tag:
        raise PinError(f"image {image}: no tag; name one, as in python:3.11.14-slim-bookworm")
    first, _, rest = name.partition("/")
    own_registry = bool(rest) and ("." in first or ":" in first)
    registry = f"https://{first}" if own_registry else addresses.docker_hub
    path = rest if own_registry else name if rest else f"library/{name}"
    url = f"{registry}/v2/{path}/manifests/{tag}"
    headers = {"Accept": _MANIFESTS}
    status, answer, _ = _ask(url, headers, method="HEAD")
    if status == 401:
        headers["Authorization"] = f"Bearer {_registry_token(answer.get('WWW-Authenticate', ''), image)}"
        status, answer, _ = _ask(url, headers, method="HEAD")
    return _checked(f"image {image}", status, answer.get("Docker-Content-Digest", ""), _DIGEST)


def action_commit(action: str, addresses: Addresses) -> str:
    """Commit that the tag or branch in `owner/repository@tag` points at; a path after the repository is ignored.

    Raises:
        PinError: no such repository or tag, or no answer.
    """
    name, _, tag = action.rpartition("@")
    owner_and_name = "/".join(name.split("/")[:2])
    headers = {"Accept": "application/vnd.github.sha"} | _bearer("GITHUB_TOKEN", "GH_TOKEN")
    status, _, body = _ask(f"{addresses.github}/repos/{owner_and_name}/commits/{tag}", headers)
    return _checked(action, status, body.strip(), _COMMIT)


def hub_revision(hub_id: str, kind: str, addresses: Addresses) -> str:
    """Commit of the newest revision of a model or data set (kind: "models" or "datasets").

    Raises:
        PinError: no such id, access refused, or no answer.
    """
    status, _, body = _ask(f"{addresses.hub}/api/{kind}/{hub_id}", _bearer("HF_TOKEN"))
    try:
        revision = str(json.loads(body)["sha"]) if status == 200 else ""
    except (ValueError, KeyError, TypeError):
        revision = ""
    return _checked(f"{hub_id} ({kind})", status, revision, _COMMIT)


def _registry_token(challenge: str, image: str) -> str:
    """The anonymous token that a registry asks for before it tells a digest."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "realm" not in said:
        raise PinError(f"image {image}: its registry refuses access")
    asked = urllib.parse.urlencode({key: said[key] for key in ("service", "scope") if key in said})
    status, _, body = _ask(f"{said['realm']}?{asked}", {})
    try:
        content = json.loads(body)
        return str(content.get("token") or content["access_token"])
    except (ValueError, KeyError, AttributeError):
        raise PinError(f"image {image}: its registry gave no token (HTTP {status})") from None


def _checked(what: str, status: int, value: str, form: re.Pattern[str]) -> str:
    """The value, if it has the form that an immutable name must have: nothing else is ever written into a lock."""
    if status in (401, 403):
        raise PinError(f"{what}: access refused (HTTP {status}); set HF_TOKEN or GITHUB_TOKEN if you have access")
    if status in (404, 422):
        raise PinError(f"{what}: not found (HTTP {status})")
    if status != 200:
        raise PinError(f"{what}: HTTP {status}")
    if not form.fullmatch(value):
        raise PinError(f"{what}: the answer holds no commit or digest")
    return value


def _bearer(*names: str) -> dict[str, str]:
    token = next((os.environ[name] for name in names if os.environ.get(name)), None)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ask(url: str, headers: Mapping[str, str], method: str = "GET") -> tuple[int, Message, str]:
    """Status, headers and text of the answer, whatever the status.

    Raises:
        PinError: the host gave no answer.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "distillability-repro", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        host = urllib.parse.urlsplit(url).netloc
        reason = getattr(error, "reason", None) or error
        raise PinError(f"{host}: cannot be reached ({reason})", host=host) from None
