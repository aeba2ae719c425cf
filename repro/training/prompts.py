"""Prompts of training: the tokens that every other stage gives them, and the check that they fit the models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.models.chat_tokens import prompt_token_ids
from repro.models.positions import check_length
from repro.tasks.task import Item


class RenderedPrompts:
    """Mixin for TRL's trainers that turns prompts into tokens by `prompt_token_ids`.

    TRL would render the template with the clock of the day, and read names of control tokens in a question as control
    tokens. `prompt_tokenizer` is the trained model's unless it is set before the first step.
    """

    prompt_tokenizer: Any = None

    def _tokenize_prompts(self, prompts: list[list[dict[str, str]]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        tokenizer = self.prompt_tokenizer or self._tokenizer  # type: ignore[attr-defined]
        reasoning = self.chat_template_kwargs["enable_thinking"]  # type: ignore[attr-defined]
        ids = {
            text: prompt_token_ids(tokenizer, text, reasoning) for text in {prompt[0]["content"] for prompt in prompts}
        }
        return [list(ids[prompt[0]["content"]]) for prompt in prompts], None, {}


def check_prompts(
    models: Sequence[Path | str], tokenizer: Any, items: Sequence[Item], cap: int, reasoning: bool
) -> None:
    """Check that every prompt, with a completion of up to `cap` tokens, fits the positions of each model.

    Args:
        models: those that read the same tokens.

    Raises:
        InputError: one does not; names the model and the item.
    """
    lengths = {item.id: len(prompt_token_ids(tokenizer, item.prompt, reasoning)) for item in items}
    longest = max(lengths, key=lengths.__getitem__)
    for model in models:
        check_length(model, lengths[longest], cap, f"the prompt of item {longest}")
