"""Prompts of training are made into tokens once, and every step gets lists of its own."""

from typing import Any

import pytest

from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer, locate
from repro.training import prompts
from repro.training.prompts import RenderedPrompts


class _Trainer(RenderedPrompts):
    def __init__(self) -> None:
        self.chat_template_kwargs = {"enable_thinking": True}
        self._tokenizer = load_tokenizer(locate("toy:qwen3-student"))


def test_each_prompt_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def count(tokenizer: Any, text: str, reasoning: bool) -> list[int]:
        read.append(text)
        return prompt_token_ids(tokenizer, text, reasoning)

    monkeypatch.setattr(prompts, "prompt_token_ids", count)
    trainer, texts = _Trainer(), ["one", "two", "one"]
    steps = [trainer._tokenize_prompts([[{"role": "user", "content": text}] for text in texts]) for _ in range(2)]
    assert sorted(read) == ["one", "two"]
    assert steps[0] == steps[1] == ([prompt_token_ids(trainer._tokenizer, text) for text in texts], None, {})
    steps[0][0][0].append(0)  # the lists of a step are the trainer's to change
    assert trainer._tokenize_prompts([[{"role": "user", "content": "one"}]])[0] == steps[1][0][:1]
