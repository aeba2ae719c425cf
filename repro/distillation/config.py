"""Settings of a distillation run (sections 3 and 6). No torch here: recipes import this."""

from typing import Any, Literal

import pydantic

from repro.distillation.loss import LOSSES, Divergence, Loss
from repro.errors import InputError

Method = Literal["sft", "gkd-fkl", "gkd-rkl"]
OWN_DIVERGENCE = {"gkd-fkl": "fkl", "gkd-rkl": "rkl"}
"""Method to the loss that it has if none is named."""


class DistillationConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of a distillation run. Every field changes the result; recipes set them all."""

    method: Method
    """sft: cross-entropy on stored teacher completions. gkd-fkl: KL(p_T||p_S) per token on stored teacher
    completions (off-policy). gkd-rkl: KL(p_S||p_T) per token on the student's own completions (on-policy)."""
    steps: int = pydantic.Field(gt=0)
    """Optimiser steps."""
    sequences_per_step: int = pydantic.Field(gt=0)
    """Completions in one optimiser step, whatever the micro-batch."""
    learning_rate: float = pydantic.Field(gt=0, allow_inf_nan=False)
    warmup_fraction: float = pydantic.Field(ge=0, le=1)
    max_completion_tokens: int = pydantic.Field(gt=0)
    traces: Literal["full", "answer-only"]
    """answer-only: teacher completions cut to their final answer (no-reasoning control; off-policy only)."""
    engine: Literal["transformers", "vllm"]
    reasoning: bool = True
    """The chat template's `enable_thinking`. The template's default is True; templates without the switch ignore it."""
    rollouts_per_prompt: int = pydantic.Field(default=1, gt=0)
    """On-policy: completions of each prompt in a step, so that a step has sequences_per_step / this many prompts."""
    divergence: Divergence = None
    """The loss of the GKD methods (`repro list --losses`), on the completions of the method; None, which naming it means too,
    for the method's own: KL(p_T||p_S) of gkd-fkl, KL(p_S||p_T) of gkd-rkl."""

    def with_divergence(self, loss: Loss) -> "DistillationConfig":
        """Return these settings with another loss."""
        return DistillationConfig.model_validate(self.model_dump() | {"divergence": loss})

    @property
    def reads_reference(self) -> bool:
        """True if the loss reads the student as it was before training."""
        return self.divergence is not None and "reference" in self.divergence.reads

    @pydantic.model_validator(mode="before")
    @classmethod
    def _own_divergence_is_none(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        loss, method = LOSSES.parse(content.get("divergence")), str(content.get("method"))
        if loss is not None and method == "sft":
            raise InputError(f"divergence '{loss.name}': sft learns from text alone: set it for gkd-fkl or gkd-rkl")
        if loss is not None and "rewards" in loss.reads and method == "gkd-fkl":
            raise InputError(
                f"divergence '{loss.name}': it reads the rewards of the student's own completions: set it for gkd-rkl"
            )
        return {**content, "divergence": None if loss is not None and OWN_DIVERGENCE.get(method) == loss.name else loss}

    @pydantic.model_validator(mode="after")
    def _rollouts_fill_the_step(self) -> "DistillationConfig":
        if self.rollouts_per_prompt > 1 and self.method != "gkd-rkl":
            raise ValueError("rollouts_per_prompt is of on-policy training: off-policy, the teacher's samples decide")
        if self.sequences_per_step % self.rollouts_per_prompt:
            raise ValueError(
                f"rollouts_per_prompt = {self.rollouts_per_prompt} does not divide sequences_per_step ="
                f" {self.sequences_per_step}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _traces_are_off_policy(self) -> "DistillationConfig":
        if self.traces == "answer-only" and self.method == "gkd-rkl":
            raise ValueError("traces = 'answer-only' needs stored teacher completions: use method sft or gkd-fkl")
        return self


class SelectionConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How completions are selected, prompt by prompt. No answer key is read."""

    rule: Literal["majority", "shortest", "likeliest"]
    """majority: completions whose answer is the majority answer of the completions that vote; a tie is broken at random.
    shortest, likeliest: the `share` of a prompt's completions with the fewest tokens, or the largest log-probability per
    token under the model that scored them; at least one."""
    share: float = pydantic.Field(default=0.5, gt=0, le=1)


class WeighingConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How traces are weighed by their value on a holdout (`repro.distillation.weighing`)."""

    strength: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Log-weight of a trace whose value is a standard deviation above the mean."""
    epsilon: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Step of the difference along the holdout's gradient, in units of the gradient."""
    traces: int = pydantic.Field(gt=0)
    """Completions of the holdout that the gradient is taken of, spread over all of them."""
