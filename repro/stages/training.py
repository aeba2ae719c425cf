"""The stages that make models."""

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from repro.calibration.config import CalibrationConfig
from repro.distillation.config import DistillationConfig
from repro.stages.completions import Completions, Guarded, Mix, Rewrite, Sample, Score, Select
from repro.stages.output_layer import TrainOutputLayer
from repro.stages.references import BaseModelRef, ModelPair, TaskData
from repro.stages.stage import Stage
from repro.stages.weighing import Weigh
from repro.stages.workload import PASSES, Workload


class Calibrate(Stage):
    """Fine-tune the teacher towards (eta > 0) or away from (eta < 0) the calibration target (section 5)."""

    kind: Literal["calibrate"] = "calibrate"
    version: ClassVar[int] = 1
    feeds_training: ClassVar[bool] = True

    teacher: "ModelInput"
    target: BaseModelRef
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: CalibrationConfig
    seed: int
    prompts_of: BaseModelRef | None = None
    """The student whose chat template formats the prompts; None (not part of the identity) for the teacher's own."""
    matches: "Calibrate | None" = None
    """The calibration whose KL this one is matched to (`repro.calibration.kl_match`); None (not part of the identity)
    for no matching."""

    def identity(self) -> dict[str, Any]:
        """See `Frozen.identity`. Disabled settings are left out, so results from before they existed stay valid."""
        off = {name for name in ("prompts_of", "matches") if getattr(self, name) is None}
        identity = {name: value for name, value in super().identity().items() if name not in off}
        return identity | {"config": self.config.identity()}

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return f"calibrate teacher, eta {self.config.eta:+g}{self._control}"

    @property
    def _control(self) -> str:
        reward = "" if self.config.reward == "r_cal" else f", {self.config.reward} reward"
        return f"{reward}, KL-matched" if self.matches else reward

    @property
    def rewards(self) -> tuple[str, ...]:
        weighted = "control_reward" if self.config.is_control_reward else "r_cal"
        return ("task_reward", weighted) if self.config.eta else ("task_reward",)

    @property
    def base_model(self) -> BaseModelRef:
        """The published or local model underlying the trained one."""
        return self.teacher.base_model

    @property
    def model_label(self) -> str:
        """The name of the trained model in labels of stages."""
        return f"teacher at eta {self.config.eta:+g}{self._control}"

    @property
    def workload(self) -> Workload:
        return Workload(
            main=self.teacher,
            frozen=self.target,
            passes=PASSES[self.procedure],
            lora_rank=self.config.lora_rank,
            kl_anchor=self.config.kl_beta > 0,
            matches_kl=self.matches is not None,
            reward_model=self.reward_model,
            engine=self.config.engine,
            steps=self.config.steps,
            sequences_per_step=self.config.sequences_per_step,
            max_completion_tokens=self.config.max_completion_tokens,
        )

    @property
    def model_pair(self) -> ModelPair | None:
        """The teacher and the student whose prompts it reads; they need common tokens, as in distillation."""
        return ModelPair("distillation", self.base_model, self.prompts_of) if self.prompts_of else None

    def prompted_models(self) -> dict[str, bool]:
        models = (self.base_model, self.target, *([self.prompts_of] if self.prompts_of else []))
        return {model.name: self.config.reasoning for model in models}


class Distill(Stage):
    """Distil a student from a teacher, on stored completions (off-policy) or on its own (on-policy).

    The student may itself be distilled (warm start). teacher: the model whose distribution GKD matches; for SFT, the
    model whose tokens the stored completions are in.
    """

    kind: Literal["distill"] = "distill"
    version: ClassVar[int] = 1
    feeds_training: ClassVar[bool] = True

    student: "ModelInput"
    teacher: "ModelInput"
    samples: Completions | None
    weights: Weigh | None = None
    """Weights of the stored completions; None (not part of the identity) for equal weights."""
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: DistillationConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _samples_where_off_policy(self) -> "Distill":
        if (self.config.method == "gkd-rkl") == (self.samples is not None):
            raise ValueError("stored teacher completions are for sft and gkd-fkl, and only for these")
        return self

    @pydantic.model_validator(mode="after")
    def _weights_are_of_the_samples(self) -> "Distill":
        if self.weights is not None and (self.config.method != "sft" or self.weights.completions != self.samples):
            raise ValueError("weights are for sft, and of the completions that it learns from")
        return self

    def identity(self) -> dict[str, Any]:
        """See `Frozen.identity`. One rollout per prompt and the method's own divergence are left out, since they were
        the only behaviour before these options existed."""
        content = super().identity()
        if self.config.rollouts_per_prompt == 1:
            del content["config"]["rollouts_per_prompt"]
        if self.config.divergence is None:
            del content["config"]["divergence"]
        if self.weights is None:
            del content["weights"]
        if self.samples is None:  # a student may sample the pad token, whose embedding was frozen initially
            content["pad_token"] = "trained"
        return content

    @property
    def reads_answers(self) -> bool:
        return self.config.traces == "answer-only"

    @property
    def label(self) -> str:
        cut = ", answer-only traces" if self.config.traces == "answer-only" else ""
        return f"distill {self._method} from {self._source}{cut}"

    @property
    def procedure(self) -> str:
        return self.config.method

    @property
    def base_model(self) -> BaseModelRef:
        """The published or local model underlying the trained one."""
        return self.student.base_model

    @property
    def model_label(self) -> str:
        """The name of the trained model in labels of stages."""
        cut = " answer-only" if self.config.traces == "answer-only" else ""
        return f"{self._method}{cut} student of {self._source}"

    @property
    def _method(self) -> str:
        """The method, with its loss if not the method's default."""
        loss = self.config.divergence
        weighted = "reweighted " if self.weights else ""
        return f"{weighted}{self.config.method} with {loss.label}" if loss else f"{weighted}{self.config.method}"

    @property
    def _source(self) -> str:
        """What the student learns from, and what it started from if not a base model."""
        source = self.teacher.model_label if self.samples is None else self.samples.traces_label
        return source if isinstance(self.student, BaseModelRef) else f"{source}, after {self.student.model_label}"

    @property
    def workload(self) -> Workload:
        passes = PASSES[self.procedure]
        return Workload(
            main=self.student,
            frozen=self.teacher if passes.frozen else None,
            passes=passes,
            frozen_in_step=True,
            uses_loss_layer=self.config.uses_loss_layer,
            kl_anchor=self.config.reads_reference,
            reward_model=self.reward_model,
            engine=self.config.engine,
            steps=self.config.steps,
            sequences_per_step=self.config.sequences_per_step,
            max_completion_tokens=self.config.max_completion_tokens,
        )

    @property
    def full_traces(self) -> Completions | None:
        return self.samples if self.config.traces == "full" else None

    @property
    def model_pair(self) -> ModelPair | None:
        """GKD's teacher and student; None for SFT, which only reads text."""
        gkd = self.config.method != "sft"
        return ModelPair("distillation", self.teacher.base_model, self.base_model) if gkd else None

    def prompted_models(self) -> dict[str, bool]:
        return {self.base_model.name: self.config.reasoning}


MakesModel = Calibrate | Distill | TrainOutputLayer
"""The stages that make models."""
ModelInput = Annotated[BaseModelRef | MakesModel, pydantic.Field(discriminator="kind")]
"""A model that a stage reads: as published, or trained by another stage."""
for _stage in (Sample, Guarded, Score, Select, Mix, Rewrite, Weigh, TrainOutputLayer, Calibrate, Distill):
    _stage.model_rebuild(_types_namespace={"ModelInput": ModelInput, "Completions": Completions})
