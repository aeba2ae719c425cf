"""Settings of guards that train. No torch here: stages import this."""

import pydantic

TOKENS_AT_ONCE = 4096
"""Most tokens with distributions in memory at the same time when training an output layer; changes results by rounding
only."""


class OutputLayerConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings for training the output layer against a proxy. Every field changes the result."""

    strength: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Weight of the KL to the proxy, relative to the cross-entropy in nats."""
    temperature: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Temperature of both distributions in that KL."""
    steps: int = pydantic.Field(gt=0)
    """Optimiser steps."""
    sequences_per_step: int = pydantic.Field(gt=0)
    """Completions per optimiser step, whatever the micro-batch."""
    learning_rate: float = pydantic.Field(gt=0)
    warmup_fraction: float = pydantic.Field(ge=0, le=1)
    max_completion_tokens: int = pydantic.Field(gt=0)
    reasoning: bool
    """The chat template's `enable_thinking`."""
