"""One check of a model before any work: folder, tokenizer and chat template.

`repro run`, single stages and the doctor all use it, so that a problem has the same message everywhere.
"""

import re
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.chat_tokens import (
    control_tokens,
    encode_text,
    end_of_turn_id,
    eos_token_ids,
    prompt_token_ids,
    render,
)
from repro.models.loading import check_loadable, generation_eos_ids, load_config, load_tokenizer, locate

_WORDS = re.compile(r"[A-Za-z0-9]+")
PROBE = (
    (
        'Add: 12 + 30, {x: [1]} & <b>"two"</b>.\n\n'
        "A. It's 42?\nB. \\frac{1}{2} of $84$\n"
        "Answer within \\boxed{}: naïve, 数, \N{SLIGHTLY SMILING FACE}. "
    )
    + "A long question must arrive to its last word. " * 60
    + "Is this its end?"
)
"""Text that chat templates must leave unchanged: quotes, markup, several lines, non-ASCII letters, some length."""


def check_model(name: str, *, reasoning: bool = True) -> None:
    """Check that a model can be loaded, prompted and stopped. Reads no weights.

    Args:
        name: folder, hub id or toy name.
        reasoning: the template's `enable_thinking`.

    Raises:
        InputError: names the problem and the fix.
    """
    location = locate(name)
    text_config = load_config(location).get_text_config()
    if isinstance(location, Path):
        check_loadable(location)
        if text_config.tie_word_embeddings:
            check_tied(location)
    tokenizer, declared = load_tokenizer(location), generation_eos_ids(location)
    rows = int(text_config.vocab_size)
    check_text(tokenizer)
    check_template(tokenizer, declared, reasoning)
    check_ids(location, tokenizer, declared, rows, reasoning)


def check_tied(folder: Path) -> None:
    """Reject an output layer that differs from tied embeddings: transformers would use it, vLLM would not."""
    import torch
    from safetensors import safe_open

    layers: dict[str, tuple[Path, str]] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            names = {"lm_head.weight", "model.embed_tokens.weight"} & set(tensors.keys())
            layers |= {name: (file, name) for name in names}
    if len(layers) < 2:
        return
    weights = []
    for file, name in layers.values():
        with safe_open(file, framework="pt") as tensors:
            weights.append(tensors.get_tensor(name))
    if not torch.equal(*weights):
        raise InputError(
            f"model {folder}: config.json ties the output layer to the embeddings, but lm_head.weight has other values. Set"
            " tie_word_embeddings to false, or remove lm_head.weight."
        )


def check_text(tokenizer: Any) -> None:
    """Check that words and numbers survive the tokenizer, and that control tokens are parsed as such.

    A tokenizer class other than the saved one can lose spaces; a normaliser can lowercase letters or replace digits.
    """
    source = f"tokenizer of {tokenizer.name_or_path}"
    if getattr(tokenizer, "split_special_tokens", False):
        raise InputError(
            f"{source}: split_special_tokens is set, so control tokens in its chat template would be read as text. Remove"
            " it from tokenizer_config.json."
        )
    text = PROBE.encode("ascii", "ignore").decode()  # a tokenizer may lack letters of other scripts
    decoded = tokenizer.decode(encode_text(tokenizer, text), skip_special_tokens=True)
    before, after = _WORDS.findall(text), _WORDS.findall(decoded)
    if before != after:
        pairs = zip([*before, ""], [*after, ""])
        written, read = next(pair for pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{source}: {written!r} comes back as {read!r} when text is encoded and decoded. Use the tokenizer.json and"
            " tokenizer_class that the model was trained with."
        )


def check_template(tokenizer: Any, declared: int | list[int] | None, reasoning: bool) -> None:
    """Check that the chat template keeps questions unchanged, is deterministic, and ends turns."""
    prompt_token_ids(tokenizer, PROBE, reasoning)
    message = [{"role": "user", "content": PROBE}]
    texts = {render(tokenizer, message, generation_prompt=True, reasoning=reasoning) for _ in range(4)}
    if len(texts) > 1:
        raise InputError(
            f"tokenizer of {tokenizer.name_or_path}: its chat template gives a different prompt each time. Remove what"
            " is random or depends on the time."
        )
    end_of_turn_id(tokenizer, declared)


def check_ids(
    model: Path | str, tokenizer: Any, declared: int | list[int] | None, rows: int, reasoning: bool = True
) -> None:
    """Check that the model has a row for every id that text, template, end of turn and padding can produce.

    Control tokens that the template does not use may lack one: Gemma-3-1B has no row for its image token.
    """
    if tokenizer.pad_token_id is not None:
        _check_range(model, "the pad token", [tokenizer.pad_token_id], rows)
    _check_range(model, "the end of a turn", eos_token_ids(tokenizer, declared), rows)
    _check_range(model, "its chat template", prompt_token_ids(tokenizer, PROBE, reasoning), rows)
    text = set(tokenizer.get_vocab().values()) - control_tokens(tokenizer)
    _check_range(model, "text", sorted(text), rows)


def _check_range(model: Path | str, subject: str, ids: list[int], rows: int) -> None:
    outside = [number for number in ids if not (isinstance(number, int) and 0 <= number < rows)]
    if outside:
        raise InputError(
            f"model {model}: {subject} has the token id {outside[0]!r}, but the model has rows for {rows} ids (vocab_size)."
            " Give the tokenizer that the model was saved with, or resize the model's embeddings to it."
        )
