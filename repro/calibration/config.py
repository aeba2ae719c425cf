"""Settings of a calibration run (section 5, appendix D). No torch here: recipes import this."""

from typing import Any, Literal

import pydantic

CalibrationReward = Literal["r_cal", "blind", "null", "style", "length", "taste"]
"""The paper's r_cal, r_cal against a target with untrained weights, or one of `repro.calibration.control_rewards`."""


class CalibrationConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of Algorithm 1. Every field changes the result, so none has a default: recipes set them all."""

    eta: float = pydantic.Field(allow_inf_nan=False)
    """Distillability coefficient: > 0 distillable, < 0 undistillable, 0 plain RFT (Eq 6)."""
    steps: int = pydantic.Field(gt=0)
    """Optimiser steps."""
    prompts_per_step: int = pydantic.Field(gt=0)
    group_size: int = pydantic.Field(ge=2)
    """Completions per prompt, G: the group inside which each reward is normalised."""
    learning_rate: float = pydantic.Field(gt=0, allow_inf_nan=False)
    lora_rank: int = pydantic.Field(gt=0)
    lora_alpha: int = pydantic.Field(gt=0)
    kl_beta: float = pydantic.Field(ge=0, allow_inf_nan=False)
    """Weight of the KL anchor to the uncalibrated teacher (Eq 6), nats per token."""
    max_completion_tokens: int = pydantic.Field(gt=0)
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"]
    advantages: Literal["group", "batch"]
    """group: z-score each reward within its group, then sum (Algorithm 1). batch: also renormalise the sum over the
    batch, as TRL's normalize_then_sum does; a different algorithm, used as a control."""
    length_normalised: bool
    """Divide r_cal's two terms by their own token counts (a control; the paper sums)."""
    engine: Literal["transformers", "vllm"]
    reasoning: bool = True
    """The chat template's `enable_thinking`. The template's default is True; templates without the switch ignore it."""
    reward: CalibrationReward = "r_cal"
    """The reward that eta weighs. r_cal is the paper's; all others are controls."""
    style_text: str = pydantic.Field(default="Wait", min_length=1)
    """What a completion must contain for the style reward."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that change the result; settings of control rewards count only where one is used."""
        unused = (
            {"reward", "style_text"} if self.reward == "r_cal" else {"style_text"} if self.reward != "style" else set()
        )
        return self.model_dump(mode="json", exclude=unused)

    @property
    def is_control_reward(self) -> bool:
        """True if the reward does not depend on a target."""
        return self.reward not in ("r_cal", "blind")

    @property
    def sequences_per_step(self) -> int:
        """Completions in one optimiser step."""
        return self.prompts_per_step * self.group_size
