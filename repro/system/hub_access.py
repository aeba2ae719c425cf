"""Access to models and data sets on the hub: whether it is granted, and what to do if it is not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from repro.system.tls import tls_context

Kind = Literal["models", "datasets"]
TIMEOUT_S = 8.0
"""Timeout in seconds for one request to the hub."""
QUESTIONS = 8
"""Number of concurrent requests."""


@dataclass(frozen=True)
class Access:
    """The hub's answer about one id.

    Attributes:
        problem: why the id cannot be read, with the fix; None if it can be read or that is unknown.
        unknown: why access is unknown; None if it is known.
        is_down: the hub gave no answer at all.
    """

    problem: str | None = None
    unknown: str | None = None
    is_down: bool = False


def is_offline() -> bool:
    """Return True if the user has disabled requests to the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def ask_access(hub_ids: Mapping[str, Kind]) -> dict[str, Access]:
    """Ask the hub once per id whether its files may be read; if the first request gets no answer, stop asking.

    Args:
        hub_ids: id -> kind.
    """
    from concurrent.futures import ThreadPoolExecutor

    if not hub_ids:
        return {}
    first, *others = hub_ids.items()
    probe = _ask(*first)
    if probe.is_down:
        return dict.fromkeys(hub_ids, probe)
    with ThreadPoolExecutor(QUESTIONS) as pool:
        return {first[0]: probe} | dict(zip(dict(others), pool.map(lambda named: _ask(*named), others)))


def _ask(hub_id: str, kind: Kind) -> Access:
    import httpx2
    from huggingface_hub import constants, get_token

    token = get_token()
    headers = {"User-Agent": "distillability-repro"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"{constants.ENDPOINT}/api/{kind}/{hub_id}/auth-check"
    try:
        answer = httpx2.get(url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S, verify=tls_context())
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Access(unknown=f"{constants.ENDPOINT} does not answer ({error})", is_down=True)
    code = answer.headers.get("X-Error-Code")
    if answer.status_code >= 500 or answer.status_code == 429 or (answer.status_code == 404 and not code):
        return Access(unknown=f"{constants.ENDPOINT} answers with HTTP {answer.status_code}")
    return Access(problem=describe_refusal(hub_id, kind, answer.status_code, code))


def describe_refusal(hub_id: str, kind: Kind, status: int, code: str | None) -> str | None:
    """Explain why the hub refuses an id, with the fix; None if it does not.

    Args:
        status, code: HTTP status and X-Error-Code header.
    """
    from huggingface_hub import constants, get_token

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'datasets' else ''}{hub_id}"
    token = get_token()
    set_token = "set HF_TOKEN to a token of that account (docker run -e HF_TOKEN; in a workflow secrets.HF_TOKEN)"
    if code == "GatedRepo" or (status == 403 and code is None):
        fix = "use a token of the account that accepted it, with access to gated repositories" if token else set_token
        return f"gated: accept {hub_id.partition('/')[0]}'s licence at {page}, then {fix}"
    if code == "RepoNotFound":
        return f"not on the hub, or private: check the id ({page}); if it is yours, {set_token}"
    if status == 401:
        return (
            f"the hub refuses the token in use: {set_token}, or unset it" if token else f"login required: {set_token}"
        )
    return f"the hub refuses it (HTTP {status}{f', {code}' if code else ''}): {page}" if status >= 400 else None


def refusal_behind(error: BaseException, hub_id: str, kind: Kind) -> str | None:
    """Return `describe_refusal` for the hub response behind a client library's error; None if there is none."""
    from huggingface_hub.errors import HfHubHTTPError

    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            headers = cause.response.headers
            return describe_refusal(hub_id, kind, cause.response.status_code, headers.get("X-Error-Code"))
        cause = cause.__cause__ or cause.__context__
    is_gated = "gated dataset" in str(error)  # `datasets` drops the cause
    return describe_refusal(hub_id, kind, 403, "GatedRepo") if is_gated else None
