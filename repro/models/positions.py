"""Context length of a model: prompt plus completion may not exceed it, in any stage and with any engine."""

from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.loading import load_config

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
_BUILT_IN = ("default", "llama3", "longrope", "su", "proportional", "mrope")
"""RoPE scaling types for which max_position_embeddings already includes the scaling."""


def position_limit(config: Any) -> int | None:
    """Return the context length of a model in tokens; None if its configuration names no limit.

    YaRN, linear and dynamic scaling multiply the number of positions that the model was trained on.
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
    """Check that a prompt and its longest completion fit the context length.

    Args:
        prompt: tokens of the prompt, including the template.
        cap: most tokens of the completion.
        subject: what the error message calls the prompt.

    Raises:
        InputError: they do not fit; the model would read positions that it was never trained on.
    """
    limit = position_limit(load_config(model))
    if limit is None or prompt + cap <= limit:
        return
    fix = f"lower max_completion_tokens to {limit - prompt} (--set), or " if prompt < limit else ""
    raise InputError(
        f"model {model}: {subject} has {prompt} tokens; with a completion of up to {cap} that is more than the"
        f" {limit} positions of the model (max_position_embeddings). Prompts are not cut: {fix}leave the prompt out."
    )
