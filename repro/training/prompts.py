"""Training prompts: tokenised as in every other stage, and checked to fit the models."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.models.chat_tokens import prompt_token_ids
from repro.models.positions import check_length
from repro.tasks.task import Item


class RenderedPrompts:
    """Mixin for TRL trainers that tokenises prompts with `prompt_token_ids`.

    TRL would render the template with today's date, and parse names of control tokens in a question as control tokens.
    `prompt_tokenizer` defaults to the trained model's; set it before the first step.
    """

    prompt_tokenizer: Any = None

    def _tokenize_prompts(self, prompts: list[list[dict[str, str]]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._token_ids(prompt[0]["content"]).tolist() for prompt in prompts], None, {}

    def _token_ids(self, text: str) -> array:
        """Return the tokens of a prompt, cached at its first visit, since training visits each prompt many times."""
        known: dict[str, array] = self.__dict__.setdefault("_tokens_of_prompts", {})
        if text not in known:
            tokenizer = self.prompt_tokenizer or self._tokenizer  # type: ignore[attr-defined]
            reasoning = self.chat_template_kwargs["enable_thinking"]  # type: ignore[attr-defined]
            known[text] = array("i", prompt_token_ids(tokenizer, text, reasoning))  # 4 bytes a token
        return known[text]


def check_prompts(
    models: Sequence[Path | str], tokenizer: Any, items: Sequence[Item], cap: int, reasoning: bool
) -> None:
    """Check that every prompt, with a completion of up to `cap` tokens, fits the context length of each model.

    Args:
        models: models that share the tokenizer.

    Raises:
        InputError: a prompt does not fit; names the model and the item.
    """
    lengths = {item.id: len(prompt_token_ids(tokenizer, item.prompt, reasoning)) for item in items}
    longest = max(lengths, key=lengths.__getitem__)
    for model in models:
        check_length(model, lengths[longest], cap, f"the prompt of item {longest}")
