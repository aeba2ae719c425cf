"""Hash of a chat template's output: part of the identity of stages and checkpoints."""

import hashlib
import json
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.chat_tokens import render
from repro.models.loading import is_toy_model, load_tokenizer, locate
from repro.models.template_date import DATE

_MESSAGES = [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "It is 5."}]


def template_hash(tokenizer: Any) -> str:
    """Return the sha256 of the chat template's output for fixed messages, with and without reasoning.

    A rejected message is hashed as such; `strict_check` reports the error to the user.
    """
    texts: list[str | None] = []
    for messages in (_MESSAGES[:1], _MESSAGES):
        for reasoning in (True, False):
            try:
                texts.append(render(tokenizer, messages, generation_prompt=len(messages) == 1, reasoning=reasoning))
            except InputError:
                texts.append(None)
    return f"sha256:{hashlib.sha256(json.dumps(texts).encode()).hexdigest()}"


def template_identity(name: str) -> str | None:
    """Return what represents a model's prompts in a stage's identity.

    For a folder, the hash of its template's output. For a hub id, the date given to templates: the commit fixes the
    rest, and the hash is recorded once the stage has run. None for a toy model: its content hash covers the template,
    which prints no date.
    """
    if is_toy_model(name):
        return None
    location = locate(name)
    if not isinstance(location, Path):
        return f"at {DATE}"
    try:
        return template_hash(load_tokenizer(location))
    except InputError:
        return "unreadable"
