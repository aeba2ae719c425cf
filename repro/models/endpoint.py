"""Models that a server runs, as the user names them: `http://HOST:PORT/v1#MODEL`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from repro.errors import InputError

EXAMPLE = "http://127.0.0.1:8000/v1#ORG/NAME"
API_KEY_VARIABLE = "REPRO_JUDGE_API_KEY"
"""Environment variable of the server's key, if it requires one. Its value is sent to the server only."""


@dataclass(frozen=True)
class Endpoint:
    """A served model. url: without `/chat/completions`; model: the server's name for it."""

    url: str
    model: str


def is_endpoint(name: str) -> bool:
    """True if a model's name is an address."""
    return name.lower().startswith(("http://", "https://"))


def parse_endpoint(name: str) -> Endpoint:
    """Split a name into address and model.

    Raises:
        InputError: no host, no model, or a possible secret: a login or a query.
    """
    address = name.partition("#")[0]
    if "@" in address or "?" in address:
        raise InputError(
            "judge: an address with a login or a query would be recorded. Leave it out, and give the server's key by the"
            f" environment variable {API_KEY_VARIABLE}."
        )
    try:
        parts = urlsplit(name)
        host, port = parts.hostname, parts.port
        address.encode("ascii")
        (host or "").encode("idna")
    except ValueError:  # includes UnicodeError
        raise InputError(f"judge: {address} is not an address. Example: --set judge={EXAMPLE}") from None
    if not host or any(ord(letter) <= 32 for letter in name):
        raise InputError(f"judge {name!r}: an address without a host, or with a space. Example: --set judge={EXAMPLE}")
    if not parts.fragment:
        raise InputError(f"judge {name}: no model name. Append # and the name, as in {EXAMPLE}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    netloc = f"[{host}]" if ":" in host else host
    return Endpoint(f"{parts.scheme}://{netloc}{'' if port is None else f':{port}'}{path}", parts.fragment)
