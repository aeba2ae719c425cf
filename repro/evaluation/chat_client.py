"""Questions to a model behind an OpenAI-compatible `/chat/completions` (vLLM, TGI, llama.cpp, hosted ones)."""

import http.client
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPRedirectHandler, ProxyHandler, Request, build_opener

from repro.errors import InputError
from repro.models.endpoint import API_KEY_VARIABLE, Endpoint

TIMEOUT = 120.0
"""Seconds that one reply may take."""
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try, where trying again may help; a server's own Retry-After instead, up to LONGEST_WAIT."""
LONGEST_WAIT = 60.0
LARGEST_REPLY = 2**20
"""Bytes."""


class _RefusedError(Exception):
    """The server answered with another status than 200. words: the beginning of what it said."""

    def __init__(self, status: int, words: str, retry_after: str | None) -> None:
        super().__init__(f"{status} ({words})" if words else str(status))
        self.status, self.words, self.retry_after = status, words, retry_after


class _NoRedirect(HTTPRedirectHandler):
    """A redirected request would carry the key to whom nobody named."""

    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


class ChatClient:
    """One served model. Threads may share it.

    Args:
        sleep: called with the seconds before each further try.
    """

    def __init__(
        self,
        where: Endpoint,
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._where, self._sleep = where, sleep
        self._content = {"model": where.model, "max_tokens": max_tokens, "temperature": temperature}
        self._extras: dict[str, Any] = {"seed": seed, "chat_template_kwargs": {"enable_thinking": False}}
        """Sent until the server refuses them by name."""
        self._key = _key(where)
        handlers: list[BaseHandler] = [_NoRedirect()]
        if (urlsplit(where.url).hostname or "") in ("localhost", "127.0.0.1", "::1"):
            handlers.append(ProxyHandler({}))
        self._opener = build_opener(*handlers)

    def reply(self, question: str) -> str:
        """What the model says to one question; empty where it says nothing.

        Raises:
            InputError: the server is not reached, does not serve the model, refuses the key or the question, or does not
                answer as such a server does.
        """
        content = self._content | {"messages": [{"role": "user", "content": question}]}
        while True:
            extras = self._extras
            try:
                answer = self._tried("chat/completions", content | extras)
                break
            except _RefusedError as refused:
                named = [name for name in extras if name in refused.words]
                if refused.status not in (400, 422) or not named:
                    raise InputError(self._told(refused)) from None
                self._extras = {name: value for name, value in self._extras.items() if name not in named}
        try:
            said = answer["choices"][0]["message"]["content"] or ""
            if not isinstance(said, str):
                raise TypeError(said)
            return self._masked(said)
        except (KeyError, IndexError, TypeError):
            raise InputError(
                f"{self}: its reply holds no choices[0].message.content. Is that a chat model on an OpenAI-compatible server?"
            ) from None

    def models(self) -> list[str]:
        """What the server serves.

        Raises:
            InputError: it cannot be asked, or does not tell.
        """
        try:
            return [self._masked(str(one["id"])) for one in self._request("models", None, 10.0)["data"]]
        except _RefusedError as refused:
            raise InputError(f"{self}: {refused}") from None
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{self}: {self._reason(error)}. Start the server, or mend its address.") from None
        except (KeyError, TypeError):
            raise InputError(f"{self}: its list of models cannot be read.") from None

    def __str__(self) -> str:
        return f"judge {self._where.model} at {self._where.url}"

    def _tried(self, path: str, content: dict[str, Any]) -> Any:
        """The reply, after as many tries as it takes: where the server is busy or broken, or the line to it."""
        trouble = ""
        for wait in (*WAITS, None):
            try:
                return self._request(path, content, TIMEOUT)
            except _RefusedError as refused:
                if refused.status not in (408, 429) and refused.status < 500:
                    raise
                trouble, after = str(refused), refused.retry_after
            except (OSError, http.client.HTTPException) as error:
                trouble, after = self._reason(error), None
            if wait is not None:
                asked = float(after) if after and after.isdecimal() else wait * (1 + random.random() / 4)
                self._sleep(min(asked, LONGEST_WAIT))
        raise InputError(
            f"{self}: {trouble}, {len(WAITS) + 1} times in a row. Start the server, or mend its address; the same command"
            " then goes on where it was."
        )

    def _request(self, path: str, content: dict[str, Any] | None, timeout: float) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        body = None if content is None else json.dumps(content).encode()
        request = Request(f"{self._where.url}/{path}", body, headers)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                text = response.read(LARGEST_REPLY)
                if response.length and len(text) < LARGEST_REPLY:  # a read of so many bytes does not tell
                    raise http.client.IncompleteRead(text)
        except HTTPError as error:
            with error:
                words = self._clean(error.read(4096).decode(errors="replace"))
            if 300 <= error.code < 400:
                words = f"it redirects to {self._clean(error.headers.get('Location') or 'nowhere')}"
            raise _RefusedError(error.code, words, error.headers.get("Retry-After")) from None
        try:
            return json.loads(text)
        except ValueError:
            begins = self._clean(text[:200].decode(errors="replace"))[:60]
            raise InputError(
                f"{self}: its reply is not JSON (it begins {begins!r}). Give the address of an OpenAI-compatible server, up"
                " to /v1."
            ) from None

    def _told(self, refused: _RefusedError) -> str:
        """A refusal in one line, with the mend."""
        if refused.status in (401, 403):
            mend = (
                f"It refuses the key in {API_KEY_VARIABLE}: mend it"
                if self._key
                else f"Give its key in {API_KEY_VARIABLE}"
            )
            return f"{self}: {refused}. {mend}."
        if refused.status in (400, 404):
            try:
                known = self.models()
            except InputError:
                known = []
            if known and self._where.model not in known:
                return f"{self}: {refused.status}, it does not serve that model. It serves: {', '.join(known[:20])}."
        if refused.status == 404:
            return f"{self}: {refused}. Give the address up to where /chat/completions follows, mostly /v1."
        return f"{self}: {refused}. Mend what it names, or leave --set judge out for the rules."

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, http.client.IncompleteRead):
            return "its reply was cut"
        inner = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
        if isinstance(inner, TimeoutError):
            return "no reply in time"
        return self._clean(getattr(inner, "strerror", None) or str(inner) or type(inner).__name__)

    def _clean(self, text: str) -> str:
        """What the server said, in a line, without the key."""
        return " ".join(self._masked(text).split())[:300]

    def _masked(self, text: str) -> str:
        """Without the key: some servers, and some models, repeat what they are sent."""
        return text.replace(self._key, "***") if self._key else text


def _key(where: Endpoint) -> str:
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if any(not 32 < ord(letter) < 127 for letter in key):
        raise InputError(
            f"{API_KEY_VARIABLE}: holds what no key holds (a blank or another letter); set it again for {where.url}."
        )
    return key
