"""Settings of a distillation run (sections 3 and 6). No torch here: recipes import this."""

from typing import Any, Literal

import pydantic

from repro.distillation.loss import LOSSES, Divergence, Loss
from repro.errors import InputError

Method = Literal["sft", "gkd-fkl", "gkd-rkl"]
OWN_DIVERGENCE = {"gkd-fkl": "fkl", "gkd-rkl": "rkl"}
"""Maps each method to its default loss."""


class DistillationConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of a distillation run. Every field changes the result; recipes set them all."""

    method: Method
    """sft: cross-entropy on stored teacher completions. gkd-fkl: KL(p_T||p_S) per token on stored teacher
    completions (off-policy). gkd-rkl: KL(p_S||p_T) per token on the student's own completions (on-policy)."""
    steps: int = pydantic.Field(gt=0)
    """Optimiser steps."""
    sequences_per_step: int = pydantic.Field(gt=0)
    """Completions per optimiser step, whatever the micro-batch."""
    learning_rate: float = pydantic.Field(gt=0, allow_inf_nan=False)
    warmup_fraction: float = pydantic.Field(ge=0, le=1)
    max_completion_tokens: int = pydantic.Field(gt=0)
    traces: Literal["full", "answer-only"]
    """answer-only: teacher completions cut to their final answer (no-reasoning control; off-policy only)."""
    engine: Literal["transformers", "vllm"]
    reasoning: bool = True
    """The chat template's `enable_thinking`. The template's default is True; templates without the switch ignore it."""
    rollouts_per_prompt: int = pydantic.Field(default=1, gt=0)
    """On-policy: completions per prompt in a step; a step has sequences_per_step / this many prompts."""
    divergence: Divergence = None
    """The loss of the GKD methods (`repro list --losses`), on the method's completions. None, or naming the default,
    selects the method's default: KL(p_T||p_S) for gkd-fkl, KL(p_S||p_T) for gkd-rkl."""

    def with_divergence(self, loss: Loss) -> "DistillationConfig":
        """Return these settings with another loss."""
        return DistillationConfig.model_validate(self.model_dump() | {"divergence": loss})

    @property
    def reads_reference(self) -> bool:
        """True if the loss reads the reference model: the student before training."""
        return self.divergence is not None and "reference" in self.divergence.reads

    @property
    def uses_loss_layer(self) -> bool:
        """True if no kernel of TRL computes the loss, but `loss_layer` does."""
        return self.divergence is not None and self.divergence.trl_beta is None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _own_divergence_is_none(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        loss, method = LOSSES.parse(content.get("divergence")), str(content.get("method"))
        if loss is not None and method == "sft":
            raise InputError(f"divergence '{loss.name}': sft has no divergence. Use it with gkd-fkl or gkd-rkl")
        if loss is not None and "rewards" in loss.reads and method == "gkd-fkl":
            raise InputError(
                f"divergence '{loss.name}': it needs rewards of the student's completions, which gkd-fkl does not have. Use it with gkd-rkl"
            )
        return {**content, "divergence": None if loss is not None and OWN_DIVERGENCE.get(method) == loss.name else loss}

    @pydantic.model_validator(mode="after")
    def _rollouts_fill_the_step(self) -> "DistillationConfig":
        if self.rollouts_per_prompt > 1 and self.method != "gkd-rkl":
            raise ValueError(
                "rollouts_per_prompt above 1 is for gkd-rkl only: sft and gkd-fkl train on the teacher's stored completions"
            )
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
    """How completions are selected, prompt by prompt, without reading the answer key."""

    rule: Literal["majority", "shortest", "likeliest"]
    """majority: completions that state the voters' majority answer; ties are broken at random. shortest, likeliest: the
    `share` of a prompt's completions with the fewest tokens, or the largest log-probability per token under the model
    that scored them; at least one."""
    share: float = pydantic.Field(default=0.5, gt=0, le=1)


class WeighingConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How traces are weighted by their value on a holdout (`repro.distillation.weighing`)."""

    strength: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Log-weight of a trace one standard deviation above the mean value."""
    epsilon: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Step of the central difference along the holdout gradient, in units of the gradient."""
    traces: int = pydantic.Field(gt=0)
    """Number of holdout completions in the gradient, spread evenly over the holdout."""
