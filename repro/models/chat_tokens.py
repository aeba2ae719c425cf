"""Chat prompts as token ids, the end of a turn, and tokenizers compared. No model is run."""

import json
from typing import Any

from repro.errors import InputError

_MARK = "assistant wrote this"


def template_arguments(reasoning: bool) -> dict[str, bool]:
    """Return the chat template's arguments besides the messages, the same here and in every trainer."""
    return {"enable_thinking": reasoning}


def prompt_token_ids(tokenizer: Any, prompt: str, reasoning: bool = True) -> list[int]:
    """Tokenise a user message through the chat template, up to the start of the assistant's turn.

    Args:
        reasoning: the template's `enable_thinking`, if it has that switch (Qwen3 does, on by default).
    """
    if tokenizer.chat_template is None:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: no chat template, so prompts cannot be formatted as in the paper."
            " Use an instruction-tuned model, or save a chat_template with its tokenizer."
        )
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        tokenize=False,
        add_generation_prompt=True,
        **template_arguments(reasoning),
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def eos_token_ids(tokenizer: Any, declared: int | list[int] | None) -> list[int]:
    """Return every id that ends a completion: those in the generation config, and the tokenizer's."""
    listed = [declared] if isinstance(declared, int) else list(declared or [])
    eos = tokenizer.eos_token_id
    return listed if eos is None or eos in listed else [eos, *listed]


def end_of_turn_id(tokenizer: Any, declared: int | list[int] | None) -> int:
    """Return the token that ends this model's turn: the one that the chat template writes after an assistant message.

    It may differ from the tokenizer's eos_token: Gemma's turns end with <end_of_turn>, its documents with <eos>.

    Args:
        tokenizer: has a chat template.
        declared: the generation config's eos_token_id.

    Raises:
        InputError: no chat template, or no end token at all.
    """
    prompt_token_ids(tokenizer, "x")
    ends = eos_token_ids(tokenizer, declared)
    if not ends:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: no end-of-sequence token, so the end of a completion"
            " cannot be scored. Set eos_token and save the tokenizer again."
        )
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
    tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(_MARK)[2]
    written = tokenizer(tail, add_special_tokens=False)["input_ids"]
    return next((token for token in written if token in ends), ends[0])


def is_same_tokenizer(first: Any, second: Any) -> bool:
    """True if both give the same ids for every text: same vocabulary, merges, normaliser and splitting."""
    if first.get_vocab() != second.get_vocab():
        return False
    backends = [getattr(tokenizer, "backend_tokenizer", None) for tokenizer in (first, second)]
    if None in backends:
        return type(first) is type(second)
    parts = ("model", "normalizer", "pre_tokenizer", "added_tokens")
    left, right = (json.loads(backend.to_str()) for backend in backends)  # type: ignore[union-attr]
    return all(left[part] == right[part] for part in parts)


def control_tokens(tokenizer: Any) -> set[int]:
    """Return the ids of control tokens, which no text is encoded to."""
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def has_same_text_tokens(first: Any, second: Any) -> bool:
    """True if both give the same ids for every text, whatever the names of their control tokens.

    DeepSeek-R1-0528-Qwen3-8B has Qwen3's vocabulary and different names for its control tokens; a divergence per token is
    still defined. Added tokens that text can contain (`<think>`) must agree.
    """
    backends = [getattr(tokenizer, "backend_tokenizer", None) for tokenizer in (first, second)]
    if None in backends:
        return is_same_tokenizer(first, second)
    left, right = (_text_state(json.loads(backend.to_str())) for backend in backends)  # type: ignore[union-attr]
    return left == right


def _text_state(backend: dict[str, Any]) -> dict[str, Any]:
    """Return what determines the ids of plain text, without the control tokens."""
    control = {token["content"] for token in backend["added_tokens"] if token["special"]}
    model = dict(backend["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {token: number for token, number in vocabulary.items() if token not in control}
    plain = [{k: t[k] for k in ("id", "content", "normalized")} for t in backend["added_tokens"] if not t["special"]]
    return {
        "model": model,
        "normalizer": backend["normalizer"],
        "pre_tokenizer": backend["pre_tokenizer"],
        "plain": plain,
    }
