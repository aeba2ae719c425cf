"""Chat prompts as token ids, the end of a turn, and comparisons of tokenizers. No model is run."""

import json
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from repro.errors import InputError
from repro.models.template_date import fixed_strftime, template_arguments

_CONTROL = re.compile("<[|\uff5c].*[|\uff5c]>$")
"""Names of control tokens: <|im_start|>, and DeepSeek's with full-width bars."""
_MARK = "assistant wrote this"
_QUESTION = "the user asked this"
Message = dict[str, str]


def render(tokenizer: Any, messages: Sequence[Message], *, generation_prompt: bool, reasoning: bool = True) -> str:
    """Render messages through the chat template, at the fixed date (`template_date`).

    Raises:
        InputError: there is no template, or it rejects these messages.
    """
    if tokenizer.chat_template is None:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: no chat template, so prompts cannot be formatted as in the paper."
            " Use an instruction-tuned model, or save a chat_template with its tokenizer (docs/troubleshooting.md)."
        )
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=generation_prompt,
                strftime_now=fixed_strftime,
                **template_arguments(reasoning),
            )
        )
    except MemoryError:
        raise
    except Exception as error:  # raised by the template, by jinja, or by any expression in the template
        turns = "a lone user message" if len(messages) == 1 else "a user message with an answer"
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: its chat template refuses {turns}: {reason}. Correct the template, or"
            " use another model."
        ) from error


def prompt_token_ids(tokenizer: Any, prompt: str, reasoning: bool = True) -> list[int]:
    """Tokenise a user message through the chat template, up to the start of the assistant's turn.

    Args:
        reasoning: the template's `enable_thinking`, if it has that switch (Qwen3 does, on by default).

    Raises:
        InputError: no template, or one that rejects the message or omits it from the output.
    """
    messages = [{"role": "user", "content": prompt}]
    text = render(tokenizer, messages, generation_prompt=True, reasoning=reasoning)
    if prompt.strip() not in text:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: its chat template drops or changes the user's message"
            f" ({prompt.strip()[:40]!r} is not in what it writes). Correct the template, or use another model."
        )
    return _encode_chat(tokenizer, text, messages, generation_prompt=True, reasoning=reasoning)


def conversation_token_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Tokenise a finished conversation through the chat template, as a reward model reads it."""
    text = render(tokenizer, messages, generation_prompt=False)
    return _encode_chat(tokenizer, text, messages, generation_prompt=False)


def _encode_chat(
    tokenizer: Any, text: str, messages: Sequence[Message], *, generation_prompt: bool, reasoning: bool = True
) -> list[int]:
    """Tokenise rendered messages. Control tokens written by the template count as such; names in a message are text."""
    if not any(_has_control_text(tokenizer, message["content"]) for message in messages):
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    marks = {f"{_QUESTION} ({n})": message["content"].strip() for n, message in enumerate(messages)}
    marked = [message | {"content": mark} for message, mark in zip(messages, marks)]
    template = render(tokenizer, marked, generation_prompt=generation_prompt, reasoning=reasoning)
    ids = []
    for part in re.split(f"({'|'.join(map(re.escape, marks))})", template):
        is_message = part in marks
        ids += (
            encode_text(tokenizer, marks[part])
            if is_message
            else tokenizer(part, add_special_tokens=False)["input_ids"]
        )
    return ids


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenise text without control tokens; their names become ordinary tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


_controls: WeakKeyDictionary[Any, frozenset[int]] = WeakKeyDictionary()


def _has_control_text(tokenizer: Any, text: str) -> bool:
    """True if the text contains names that the tokenizer would parse as control tokens."""
    controls = _controls.get(tokenizer)
    if controls is None:
        controls = _controls[tokenizer] = frozenset(control_tokens(tokenizer) - {tokenizer.unk_token_id})
    return not controls.isdisjoint(tokenizer(text, add_special_tokens=False)["input_ids"])


def eos_token_ids(tokenizer: Any, declared: int | list[int] | None) -> list[int]:
    """Return every id that ends a completion, from the generation config and the tokenizer."""
    listed = [declared] if isinstance(declared, int) else list(declared or [])
    eos = tokenizer.eos_token_id
    return listed if eos is None or eos in listed else [eos, *listed]


def end_of_turn_id(tokenizer: Any, declared: int | list[int] | None) -> int:
    """Return the token that ends the model's turn: the one the chat template writes after an assistant message.

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
    tail = render(tokenizer, turns, generation_prompt=False).rpartition(_MARK)[2]
    written = tokenizer(tail, add_special_tokens=False)["input_ids"]
    return next((token for token in written if token in ends), ends[0])


def is_same_tokenizer(first: Any, second: Any) -> bool:
    """True if both give the same ids for every text: same vocabulary, merges, normaliser and splitting."""
    if first.get_vocab() != second.get_vocab():
        return False
    left, right = _backend_state(first), _backend_state(second)
    if left is None or right is None:
        return type(first) is type(second)
    return all(left[part] == right[part] for part in ("model", "normalizer", "pre_tokenizer", "added_tokens"))


def _backend_state(tokenizer: Any) -> dict[str, Any] | None:
    """Return the state of a fast tokenizer, without what moves the offsets of tokens but no ids; None for a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    state: dict[str, Any] = json.loads(backend.to_str())
    return state | {"pre_tokenizer": _without_offsets(state["pre_tokenizer"])}


def _without_offsets(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _without_offsets(value) for key, value in state.items() if key != "trim_offsets"}
    return [_without_offsets(value) for value in state] if isinstance(state, list) else state


def control_tokens(tokenizer: Any) -> set[int]:
    """Return the ids of control tokens, which text is never encoded to."""
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def has_same_text_tokens(first: Any, second: Any) -> bool:
    """True if both give the same ids for every text, whatever the names of their control tokens.

    DeepSeek-R1-0528-Qwen3-8B has Qwen3's vocabulary and different names for its control tokens; a divergence per token is
    still defined. Added tokens that text can contain (`<think>`) must agree. Those that only look like control tokens count
    as such: DeepSeek's role markers are not declared special.
    """
    left, right = _backend_state(first), _backend_state(second)
    if left is None or right is None:
        return is_same_tokenizer(first, second)
    return _text_state(left) == _text_state(right)


def has_same_template(first: Any, second: Any, reasoning: bool = True) -> bool:
    """True if both give the same ids for a question through their chat templates."""
    ids = [prompt_token_ids(tokenizer, "What is 2 + 3?\nAnswer.", reasoning) for tokenizer in (first, second)]
    return ids[0] == ids[1]


def _text_state(backend: dict[str, Any]) -> dict[str, Any]:
    """Return what determines the ids of plain text, without the control tokens."""
    control = {
        token["content"] for token in backend["added_tokens"] if token["special"] or _CONTROL.match(token["content"])
    }
    model = dict(backend["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {token: number for token, number in vocabulary.items() if token not in control}
    plain = [
        {k: token[k] for k in ("id", "content", "normalized")}
        for token in backend["added_tokens"]
        if token["content"] not in control
    ]
    return {
        "model": model,
        "normalizer": backend["normalizer"],
        "pre_tokenizer": backend["pre_tokenizer"],
        "plain": plain,
    }
