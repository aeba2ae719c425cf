"""Where an assistant's turn ends, and whether two tokenizers are one. No model is run."""

import json
from typing import Any

from repro.errors import InputError

_MARK = "assistant wrote this"


def template_arguments(reasoning: bool) -> dict[str, bool]:
    """What the chat template is told besides the messages: the same here and in every trainer."""
    return {"enable_thinking": reasoning}


def prompt_token_ids(tokenizer: Any, prompt: str, reasoning: bool = True) -> list[int]:
    """Tokens of one user message through the chat template, up to where the assistant starts to write.

    Args:
        reasoning: the template's `enable_thinking`, where it has that switch (Qwen3 does, on by default).
    """
    if tokenizer.chat_template is None:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: no chat template, so prompts cannot be posed as the paper does."
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
    """Every id that ends a completion: those that the generation config declares, and the tokenizer's own."""
    listed = [declared] if isinstance(declared, int) else list(declared or [])
    own = tokenizer.eos_token_id
    return listed if own is None or own in listed else [own, *listed]


def end_of_turn_id(tokenizer: Any, declared: int | list[int] | None) -> int:
    """The token that ends this model's turn: what the chat template puts behind an assistant message.

    It need not be the tokenizer's eos_token: Gemma's turns end with <end_of_turn>, its documents with <eos>.

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


def is_same_tokenizer(one: Any, other: Any) -> bool:
    """Whether the two give the same ids for every text: same vocabulary, merges, normaliser and splitting."""
    if one.get_vocab() != other.get_vocab():
        return False
    backends = [getattr(tokenizer, "backend_tokenizer", None) for tokenizer in (one, other)]
    if None in backends:
        return type(one) is type(other)
    parts = ("model", "normalizer", "pre_tokenizer", "added_tokens")
    first, second = (json.loads(backend.to_str()) for backend in backends)  # type: ignore[union-attr]
    return all(first[part] == second[part] for part in parts)


def control_tokens(tokenizer: Any) -> set[int]:
    """Ids of control tokens: never the encoding of a person's text."""
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def has_same_text_tokens(one: Any, other: Any) -> bool:
    """Whether the two give the same ids for every text, whatever their control tokens are called.

    DeepSeek-R1-0528-Qwen3-8B has Qwen3's vocabulary and other names for its control tokens; that is no obstacle to a
    divergence per token. Added tokens that text can contain (`<think>`) must agree.
    """
    backends = [getattr(tokenizer, "backend_tokenizer", None) for tokenizer in (one, other)]
    if None in backends:
        return is_same_tokenizer(one, other)
    first, second = (_text_parts(json.loads(backend.to_str())) for backend in backends)  # type: ignore[union-attr]
    return first == second


def _text_parts(backend: dict[str, Any]) -> dict[str, Any]:
    """What decides the ids of plain text, without the control tokens."""
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
