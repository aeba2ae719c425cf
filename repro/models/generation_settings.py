"""Generation configs: which can be saved, and the neutral one used for all sampling in the kit."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def neutral_generation_config(model: Any) -> Any:
    """Return a generation config with the token ids of the model's own config and no other settings.

    `generate` fills every setting that the caller omits from the model's config (repetition_penalty, min_p,
    no_repeat_ngram_size, min_new_tokens, max_time ...): completions would not be samples from p but be recorded as if
    they were.
    """
    from transformers import GenerationConfig

    return GenerationConfig(**{name: getattr(model.generation_config, name, None) for name in TOKEN_IDS})


@contextlib.contextmanager
def neutral_generation(model: Any) -> Iterator[None]:
    """Give a model, or the base of an adapter, its neutral generation config within the context.

    Passing that config to `generate` is not enough: omitted settings are taken from the model's.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    stored, base.generation_config = base.generation_config, neutral_generation_config(base)
    try:
        yield
    finally:
        base.generation_config = stored


def make_savable(model: Any) -> None:
    """Repair a generation config that can be loaded but not saved, which would fail at the end of training.

    Sampling settings without do_sample (Llama-2-chat, Vicuna) get do_sample; a config that is invalid in another way is
    reduced to its token ids.
    """
    loaded = getattr(model, "generation_config", None)
    if loaded is None or is_savable(loaded):
        return
    sampling = copy.deepcopy(loaded)
    sampling.do_sample = True
    model.generation_config = sampling if is_savable(sampling) else neutral_generation_config(model)
    if not is_savable(model.generation_config):  # a token id is invalid
        model.generation_config = type(loaded)(eos_token_id=loaded.eos_token_id)


def is_savable(config: Any) -> bool:
    """True if `save_pretrained` would accept the configuration."""
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True
