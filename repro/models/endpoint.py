"""Models served over HTTP, as named by the user: `http://HOST:PORT/v1#MODEL`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from repro.errors import InputError

EXAMPLE = "http://127.0.0.1:8000/v1#ORG/NAME"


@dataclass(frozen=True)
class Purpose:
    """What a served model is used for.

    Attributes:
        noun: what messages call the model.
        key_variable: environment variable for the server's API key, if it requires one. The key is sent to that server
            only: different purposes may use different servers.
        example: the setting that names such a model.
        without: how to do without it.
    """

    noun: str
    key_variable: str
    example: str
    without: str


JUDGE = Purpose("judge", "REPRO_JUDGE_API_KEY", f"--set judge={EXAMPLE}", "omit --set judge to judge by rules")
REWRITER = Purpose("rewriter", "REPRO_REWRITER_API_KEY", f"rewrite(model={EXAMPLE})", "leave out the guard")
PURPOSES = {purpose.noun: purpose for purpose in (JUDGE, REWRITER)}
API_KEY_VARIABLE = JUDGE.key_variable


@dataclass(frozen=True)
class Endpoint:
    """A served model. url: without `/chat/completions`; model: the server's name for it."""

    url: str
    model: str
    purpose: Purpose = JUDGE


def is_endpoint(name: str) -> bool:
    """True if the model name is a server address."""
    return name.lower().startswith(("http://", "https://"))


def without_addresses(text: str) -> str:
    """Remove server addresses from a text, keeping the names of the models."""
    return re.sub(r"(?i)https?://[^\s#,()]*#", "", text)


def parse_endpoint(name: str, purpose: Purpose = JUDGE) -> Endpoint:
    """Split a name into address and model.

    Raises:
        InputError: no host, no model, or a possible secret: a login or a query.
    """
    address, noun, example = name.partition("#")[0], purpose.noun, f"Example: {purpose.example}"
    if "@" in address or "?" in address:
        raise InputError(
            f"{noun}: the address holds a login or a query, which would be recorded with the results. Remove it, and set the"
            f" server's key in the environment variable {purpose.key_variable}."
        )
    try:
        parts = urlsplit(name)
        host, port = parts.hostname, parts.port
        address.encode("ascii")
        (host or "").encode("idna")
    except ValueError:  # includes UnicodeError
        raise InputError(f"{noun}: {address} is not an address. {example}") from None
    if not host or any(ord(letter) <= 32 for letter in name):
        raise InputError(f"{noun} {name!r}: the address has no host, or contains a space. {example}")
    if not parts.fragment:
        raise InputError(f"{noun} {name}: no model name. Append # and the name, as in {EXAMPLE}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    netloc = f"[{host}]" if ":" in host else host
    return Endpoint(f"{parts.scheme}://{netloc}{'' if port is None else f':{port}'}{path}", parts.fragment, purpose)
