"""Sampling settings. No torch here: recipes import this."""

from typing import Literal

import pydantic

EngineName = Literal["transformers", "vllm"]
VLLM_NOT_INSTALLED = (
    "engine 'vllm' is not installed here: install the extra `cpu` or `gpu`, or choose --engine transformers"
)


class SamplingConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Sampling settings. The paper samples 16 completions at temperature 1 without top-p or top-k (section 4.1)."""

    completions_per_prompt: int = pydantic.Field(gt=0)
    temperature: float = pydantic.Field(gt=0, allow_inf_nan=False)
    max_completion_tokens: int = pydantic.Field(gt=0)
    engine: EngineName
    batch_sequences: int = pydantic.Field(gt=0)
    """Sequences sampled together. Part of the identity, not a resource, because a batch shares one random stream."""
    reasoning: bool = True
    """The chat template's `enable_thinking`. The template's default is True; templates without the switch ignore it."""
