"""Positions of a model: prompt and completion together may not be longer, in any stage and under any engine."""

from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.loading import load_config

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
_BUILT_IN = ("default", "llama3", "longrope", "su", "proportional", "mrope")
"""Kinds of rotary scaling whose max_position_embeddings counts the scaled positions already."""


def position_limit(config: Any) -> int | None:
    """Return the most tokens that a model reads, None if its configuration names no limit.

    A YaRN, linear or dynamic scaling multiplies the positions that the model was trained on.
    """
    text = config.get_text_config()
    named = next((limit for name in _NAMES if isinstance(limit := getattr(text, name, None), int)), None)
    if named is None:
        return None
    rope = getattr(text, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default") if isinstance(rope, dict) else "default"
    if kind in _BUILT_IN or not isinstance(rope.get("factor"), int | float):
        return named
    trained = rope.get("original_max_position_embeddings") if kind == "yarn" else None
    return max(named, int((trained or named) * rope["factor"]))


def check_length(model: Path | str, prompt: int, cap: int, subject: str) -> None:
    """Check that a prompt and its longest completion have positions.

    Args:
        prompt: tokens of the prompt, template included.
        cap: most tokens of the completion.
        subject: the prompt in the error message.

    Raises:
        InputError: they have not: the model would read positions that it was never trained on.
    """
    limit = position_limit(load_config(model))
    if limit is None or prompt + cap <= limit:
        return
    fix = f"lower max_completion_tokens to {limit - prompt} (--set), or " if prompt < limit else ""
    raise InputError(
        f"model {model}: {subject} has {prompt} tokens; with a completion of up to {cap} that is more than the"
        f" {limit} positions of the model (max_position_embeddings). Prompts are not cut: {fix}leave the prompt out."
    )
