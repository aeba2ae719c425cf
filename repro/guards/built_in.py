"""Guards without a sampling distribution of their own: none, the paper's knob, DOGe's output layer, bare answers."""

from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from repro.guards.base import Guard, Interface, ModelGuard, TextGuard
from repro.guards.config import OutputLayerConfig

if TYPE_CHECKING:
    from repro.tasks.task import Item


class Open(Guard):
    """No guard: the teacher as it is, with everything that its interface shows."""

    name: ClassVar[str] = "none"
    formula: ClassVar[str] = "p_T"
    source: ClassVar[str] = "baseline"


class Knob(ModelGuard):
    """The undistillable teacher of the paper: calibrated with A = z(r_task) + strength z(log p_C - log p_phi).

    strength None: `eta_undistillable` of the study's settings.
    """

    name: ClassVar[str] = "knob"
    formula: ClassVar[str] = "GRPO with z(r_task) + eta z(log p_C(y|x) - log p_phi(y|x)), eta < 0 (Eq 6, 10)"
    source: ClassVar[str] = "arXiv 2604.18963, section 5"

    strength: float | None = pydantic.Field(default=None, lt=0, allow_inf_nan=False)

    def train(self, pair: Any) -> Any:
        """Return the calibration; at the default strength it is that of Table 2."""
        return pair.calibrate_undistillable() if self.strength is None else pair.calibrate(self.strength)


class KnobPerToken(Knob):
    """The knob with r_cal divided by the lengths, so that both terms are nats per token (see docs/controls.md)."""

    name: ClassVar[str] = "knob-per-token"
    formula: ClassVar[str] = "GRPO with z(r_task) + eta z(log p_C / |y|_C - log p_phi / |y|_phi), eta < 0"
    source: ClassVar[str] = "a control of this kit (docs/controls.md)"

    def train(self, pair: Any) -> Any:
        """Return the calibration that the controls use."""
        stage = super().train(pair)
        return stage.model_copy(update={"config": stage.config.model_copy(update={"length_normalised": True})})


class Doge(ModelGuard):
    """Defensive output generation: train the output layer alone, so that the reasoning misleads a proxy of the student.

    The teacher trains on its own completions; before their final answers it moves away from the calibration target's
    distribution. strength 0 leaves the teacher as it is.
    """

    name: ClassVar[str] = "doge"
    formula: ClassVar[str] = (
        "output layer trained with -log p(y) - strength KL(p^(1/T) || p_proxy^(1/T)) on reasoning, y ~ p_T"
    )
    source: ClassVar[str] = "DOGe, arXiv 2505.19504"

    strength: float = pydantic.Field(default=0.02, ge=0, allow_inf_nan=False)
    temperature: float = pydantic.Field(default=2.0, gt=0, allow_inf_nan=False)

    def train(self, pair: Any) -> Any:
        """Return the training, with the steps and learning rate of the study's SFT."""
        if not self.strength:
            return pair.teacher
        sft = pair.settings.sft.model_dump(include=set(OutputLayerConfig.model_fields))
        return pair.train_output_layer(OutputLayerConfig(strength=self.strength, temperature=self.temperature, **sft))


class AnswerOnly(TextGuard):
    r"""Withhold the reasoning: show the last \boxed{...} or "Answer: B" of a completion, nothing if it states none."""

    name: ClassVar[str] = "answer-only"
    formula: ClassVar[str] = "y -> its final answer"
    source: ClassVar[str] = "CoT removal, DistillGuard arXiv 2603.07835"
    shows: ClassVar[Interface] = "answers"

    def rewrite(self, text: str, item: "Item", *, opens_in_thought: bool = False) -> str | None:
        """Return the final answer."""
        from repro.distillation.traces import final_answer  # imports Parquet, which a plan of guards does not need

        return final_answer(text, opens_in_thought=opens_in_thought)
