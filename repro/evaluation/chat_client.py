"""Client for a model behind an OpenAI-compatible server (vLLM, TGI, llama.cpp, hosted); keeps the API key secret."""

import json
import os
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from repro.errors import InputError
from repro.models.endpoint import Endpoint
from repro.system.tls import tls_context

TIMEOUT = 600.0
"""Seconds to wait for one reply."""
RETRIES = 7
"""Retries by the openai library after a lost connection, a timeout or status 408, 409, 429 or 5xx: with backoff, half
a minute in total, or as the server's Retry-After says."""
LARGEST_REPLY = 2**20
"""Bytes; anything beyond is not read."""
_SENT_HEADERS = {
    "host",
    "connection",
    "accept",
    "content-type",
    "content-length",
    "user-agent",
    "x-stainless-raw-response",
}
"""The library would otherwise also send this machine's operating system and the contents of OPENAI_* variables."""
_TRIED = f"even after {RETRIES} retries. Start the server, or fix its address; the same command then continues"


@dataclass(frozen=True)
class Reply:
    """A model's reply. text: empty if it has none; is_cut: the token limit ended it."""

    text: str
    is_cut: bool


class ChatClient:
    """Queries one served model. Threads may share a client.

    Raises:
        InputError: the API key contains a character that keys cannot have.
    """

    def __init__(self, endpoint: Endpoint, *, max_tokens: int, temperature: float, seed: int) -> None:
        self._endpoint = endpoint
        self._request: dict[str, Any] = {"model": endpoint.model, "max_tokens": max_tokens, "temperature": temperature}
        self._options: dict[str, Any] = {"seed": seed, "chat_template_kwargs": {"enable_thinking": False}}
        """Request options, sent until the server rejects them by name."""
        self._key = _read_key(endpoint)
        is_local = urlsplit(endpoint.url).hostname in ("localhost", "127.0.0.1", "::1")
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=self._key or "none",
            timeout=TIMEOUT,
            max_retries=RETRIES,
            http_client=httpx2.Client(
                follow_redirects=False,  # a redirect would hand the key to a server that the user did not name
                trust_env=not is_local,  # proxies
                verify=tls_context(trust_env=not is_local),
                event_hooks={"request": [self._set_headers], "response": [_limit_size]},
            ),
        )

    def reply(self, question: str) -> str:
        """Return the text of the model's reply to one question. Raises as `complete` does."""
        return self.complete(question).text

    def complete(self, question: str, seed: int | None = None) -> Reply:
        """Return the model's reply to one question.

        Args:
            seed: overrides the client's seed.

        Raises:
            InputError: the server cannot be reached, does not serve the model, rejects the key or the question, or is
                not OpenAI-compatible.
        """
        create: Any = self._client.chat.completions.with_raw_response.create
        while True:
            options = self._options
            if seed is not None and "seed" in options:
                options = options | {"seed": seed}
            try:
                response = create(messages=[{"role": "user", "content": question}], extra_body=options, **self._request)
                break
            except openai.APIError as error:
                refused = [name for name in options if _is_bad_request(error) and name in error.response.text]
                if not refused:
                    raise InputError(f"{self}: {self._explain(error)}") from None
                self._options = {name: value for name, value in self._options.items() if name not in refused}
        try:
            choice = self._decode(response.text)["choices"][0]
            text, is_cut = choice["message"]["content"] or "", choice.get("finish_reason") == "length"
            if not isinstance(text, str):
                raise TypeError(text)
        except (KeyError, IndexError, TypeError):
            raise InputError(
                f"{self}: its reply holds no choices[0].message.content. Is that a chat model on an OpenAI-compatible server?"
            ) from None
        return Reply(self._redact(text), is_cut)

    def list_models(self) -> list[str]:
        """Return the names of the served models, without retries.

        Raises:
            InputError: the server cannot be reached, or does not list its models.
        """
        models = self._client.with_options(timeout=60.0, max_retries=0).models
        try:
            answer = self._decode(models.with_raw_response.list().text)
            return [self._redact(str(model["id"])) for model in answer["data"]]
        except openai.APIStatusError as error:
            raise InputError(f"{self}: {self._describe(error)}") from None
        except openai.APIConnectionError as error:
            raise InputError(f"{self}: {self._describe(error)}. Start the server, or fix its address.") from None
        except (KeyError, TypeError):
            raise InputError(f"{self}: its list of models cannot be read.") from None

    def close(self) -> None:
        """Close all connections; requests in other threads fail instead of being retried."""
        self._client.close()

    def __str__(self) -> str:
        return f"{self._endpoint.purpose.noun} {self._endpoint.model} at {self._endpoint.url}"

    def _decode(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise InputError(
                f"{self}: its reply is not JSON (it begins {self._one_line(text)[:60]!r}). Give the base address of an"
                " OpenAI-compatible server, usually ending in /v1."
            ) from None

    def _explain(self, error: openai.APIError) -> str:
        """Return what failed and how to fix it, in one line."""
        description, status = self._describe(error), getattr(error, "status_code", 500)
        if status in (401, 403):
            action = "The server refuses the key in {}: correct it" if self._key else "Set the server's key in {}"
            return f"{description}. {action.format(self._endpoint.purpose.key_variable)}."
        if status in (408, 409, 429) or status >= 500:
            return f"{description}, {_TRIED}."
        if status in (400, 404):
            try:
                served = self.list_models()
            except InputError:
                served = []
            if served and self._endpoint.model not in served:
                return f"the server has no such model ({status}). It has: {', '.join(served[:20])}."
        if status == 404:
            return f"{description}. Give the base address, without /chat/completions; it usually ends in /v1."
        return f"{description}. Fix what the server reports, or {self._endpoint.purpose.without}."

    def _describe(self, error: openai.APIError) -> str:
        if isinstance(error, openai.APIStatusError):
            location = error.response.headers.get("Location", "nowhere")
            is_redirect = 300 <= error.status_code < 400
            line = self._one_line(f"it redirects to {location}" if is_redirect else error.response.text)
            return f"{error.status_code} ({line})" if line else str(error.status_code)
        if isinstance(error, openai.APITimeoutError):
            return "no reply in time"
        cause: BaseException = error
        while inner := cause.__cause__ or cause.__context__:
            cause = inner
        line = self._one_line(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
        return "its reply was cut" if line.startswith("peer closed connection") else line

    def _one_line(self, text: str) -> str:
        return " ".join(self._redact(text).split())[:300]

    def _redact(self, text: str) -> str:
        """Mask the key, since some servers and models echo what they are sent."""
        return text.replace(self._key, "***") if self._key else text

    def _set_headers(self, request: httpx2.Request) -> None:
        for name in request.headers.keys() - _SENT_HEADERS:
            del request.headers[name]
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"


def _is_bad_request(error: openai.APIError) -> bool:
    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)


def _limit_size(response: httpx2.Response) -> None:
    body = bytearray()
    with closing(response.stream) as stream:
        for chunk in stream:
            body += chunk
            if len(body) > LARGEST_REPLY:
                break
    response.stream = httpx2.ByteStream(bytes(body))


def _read_key(endpoint: Endpoint) -> str:
    variable = endpoint.purpose.key_variable
    key = os.environ.get(variable, "").strip()
    if any(not 32 < ord(letter) < 127 for letter in key):
        raise InputError(
            f"{variable}: contains a space or a character that is not printable ASCII; set it again for {endpoint.url}."
        )
    return key
