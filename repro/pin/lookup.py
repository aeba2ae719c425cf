"""Look up image digests, action commits and hub revisions over HTTPS."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from repro.system.tls import tls_context

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
    """A name could not be looked up; the message is one line. host: set if that host did not answer."""

    def __init__(self, text: str, host: str | None = None) -> None:
        super().__init__(text)
        self.host = host


def _hub_address() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


@dataclass(frozen=True)
class Addresses:
    """Base URLs of the services. An image that names its registry (ghcr.io/...) is looked up there.

    Attributes:
        hub: the same as for downloads (HF_ENDPOINT), possibly a mirror.
    """

    hub: str = field(default_factory=_hub_address)
    github: str = "https://api.github.com"
    docker_hub: str = "https://registry-1.docker.io"


def image_digest(image: str, addresses: Addresses) -> str:
    """Return the digest of `name:tag` (of the index, if the image has several platforms).

    Raises:
        PinError: no tag, no such image, or no answer.
    """
    name, _, tag = image.rpartition(":")
    if not name or "/" in tag:
        raise PinError(f"image {image}: no tag; name one, as in python:3.11.14-slim-bookworm")
    first, _, rest = name.partition("/")
    names_registry = bool(rest) and ("." in first or ":" in first)
    registry = f"https://{first}" if names_registry else addresses.docker_hub
    path = rest if names_registry else name if rest else f"library/{name}"
    url = f"{registry}/v2/{path}/manifests/{tag}"
    headers = {"Accept": _MANIFESTS}
    answer = _ask(url, headers, method="HEAD")
    if answer.status_code == 401:
        headers["Authorization"] = f"Bearer {_registry_token(answer.headers.get('WWW-Authenticate', ''), image)}"
        answer = _ask(url, headers, method="HEAD")
    return _checked(f"image {image}", answer, answer.headers.get("Docker-Content-Digest", ""), _DIGEST)


def action_commit(action: str, addresses: Addresses) -> str:
    """Return the commit that `owner/repository@tag` points at; a path after the repository is ignored.

    Raises:
        PinError: no such repository or tag, or no answer.
    """
    name, _, tag = action.rpartition("@")
    owner_and_name = "/".join(name.split("/")[:2])
    headers = {"Accept": "application/vnd.github.sha"} | _bearer(
        os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    )
    answer = _ask(f"{addresses.github}/repos/{owner_and_name}/commits/{tag}", headers)
    return _checked(action, answer, answer.text.strip(), _COMMIT)


def hub_revision(hub_id: str, kind: str, addresses: Addresses) -> str:
    """Return the newest revision of a model or data set (kind: "models" or "datasets").

    Raises:
        PinError: no such id, access refused, or no answer.
    """
    from huggingface_hub import get_token

    answer = _ask(f"{addresses.hub}/api/{kind}/{hub_id}", _bearer(get_token()))
    return _checked(f"{hub_id} ({kind})", answer, _field(answer, "sha"), _COMMIT)


def _registry_token(challenge: str, image: str) -> str:
    """Return the anonymous token that a registry requires."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "realm" not in fields:
        raise PinError(f"image {image}: its registry refuses access")
    answer = _ask(
        fields["realm"], {}, params={key: fields[key] for key in ("service", "scope") if key in fields} or None
    )
    token = _field(answer, "token") or _field(answer, "access_token")
    if not token:
        raise PinError(f"image {image}: its registry gave no token (HTTP {answer.status_code})")
    return token


def _field(answer: httpx2.Response, name: str) -> str:
    """Return a field of a JSON object, or an empty value if it is missing."""
    try:
        return str(answer.json().get(name) or "")
    except (ValueError, AttributeError):
        return ""


def _checked(subject: str, answer: httpx2.Response, value: str, form: re.Pattern[str]) -> str:
    """Return the value if it looks like an immutable name; nothing else may enter a lock."""
    status = answer.status_code
    if status in (401, 403):
        raise PinError(f"{subject}: access refused (HTTP {status}); set HF_TOKEN or GITHUB_TOKEN if you have access")
    if status in (404, 422):
        raise PinError(f"{subject}: not found (HTTP {status})")
    if status != 200:
        raise PinError(f"{subject}: HTTP {status}")
    if not form.fullmatch(value):
        raise PinError(f"{subject}: the answer holds no commit or digest")
    return value


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ask(
    url: str, headers: Mapping[str, str], method: str = "GET", params: Mapping[str, str] | None = None
) -> httpx2.Response:
    """Return the response, whatever its status.

    Raises:
        PinError: the host gave no answer.
    """
    headers = {"User-Agent": "distillability-repro", **headers}
    try:
        return httpx2.request(
            method, url, headers=headers, params=params, follow_redirects=True, timeout=20, verify=tls_context()
        )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        host = urlsplit(url).netloc
        raise PinError(f"{host}: cannot be reached ({error})", host=host) from None
