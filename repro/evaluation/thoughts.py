"""Whether a model's completions start inside a thought because the chat template writes the opening tag itself."""

from pathlib import Path

from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer
from repro.tasks.thoughts import prompt_opens_thought

TAIL_TOKENS = 16
"""Number of last prompt tokens, which contain the tag if there is one."""


def opens_in_thought(model: Path | str, *, reasoning: bool) -> bool:
    """Return True if the chat template ends a prompt with an opening tag, as DeepSeek-R1's does.

    Args:
        reasoning: the template's `enable_thinking`.
    """
    tokenizer = load_tokenizer(model)
    ids = prompt_token_ids(tokenizer, "x", reasoning)
    return prompt_opens_thought(tokenizer.decode(ids[-TAIL_TOKENS:], skip_special_tokens=False))
