"""Stages that measure models: evaluations, diagnoses, continued prefixes and failure modes."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import pydantic

from repro.diagnosis.config import DiagnosisConfig
from repro.errors import InputError
from repro.evaluation.config import ANSWER_TOKENS, JUDGED_AT_ONCE, PrefixConfig
from repro.generation.config import EngineName, SamplingConfig
from repro.stages.completions import Sample
from repro.stages.references import BaseModelRef, ModelPair, ServedModelRef, TaskData
from repro.stages.stage import Stage
from repro.stages.training import ModelInput
from repro.stages.workload import PASSES, Workload, sampling_workload


class Evaluate(Stage):
    """Sample completions of held-out prompts and grade them (section 6.1)."""

    kind: Literal["evaluate"] = "evaluate"
    version: ClassVar[int] = 1

    model: ModelInput
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: SamplingConfig
    seed: int

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return f"evaluate {self.model.model_label}"

    @property
    def samples_per_prompt(self) -> int:
        return self.config.completions_per_prompt

    @property
    def workload(self) -> Workload:
        return sampling_workload(self.procedure, self.model, self.config, self.reward_model)

    def prompted_models(self) -> dict[str, bool]:
        return {self.model.base_model.name: self.config.reasoning}


class Diagnose(Stage):
    """Measure the distillation traps between a student and a teacher (sections 3 and 4).

    The student's completions are on-policy, the teacher's off-policy (None: on-policy measures only).
    across_tokenizers: the models share no vocabulary; measures that need one are left out.
    """

    kind: Literal["diagnose"] = "diagnose"
    version: ClassVar[int] = 2

    student: ModelInput
    teacher: ModelInput
    on_policy: Sample
    off_policy: Sample | None
    across_tokenizers: bool
    config: DiagnosisConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _completions_fit(self) -> "Diagnose":
        if self.on_policy.model != self.student or (self.off_policy and self.off_policy.model != self.teacher):
            raise ValueError("on-policy completions are the student's, off-policy ones the teacher's")
        if self.off_policy and (self.off_policy.data, self.off_policy.config) != (self.data, self.on_policy.config):
            raise ValueError("both policies' completions must be sampled for the same items in the same way")
        if self.on_policy.config.completions_per_prompt < 2:
            raise InputError(
                "completions_per_prompt=1: a single completion per prompt makes no pairs of traces and no interval."
                " Sample two or more (--set evaluation.completions_per_prompt=16)."
            )
        single = [part.task for part in self.data if part.n == 1]
        if single:
            raise InputError(f"task {single[0]} has one prompt; intervals need two or more (--items, test_items).")
        if self.across_tokenizers and self.on_policy.config.temperature != 1:
            raise InputError("--set evaluation.temperature: across tokenizers only completions at 1 can be scored")
        return self

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def data(self) -> tuple[TaskData, ...]:
        """The items that both policies answer."""
        return self.on_policy.data

    @property
    def label(self) -> str:
        return f"diagnose {self.student.model_label} under {self.teacher.model_label}"

    @property
    def samples_per_prompt(self) -> int:
        return self.on_policy.config.completions_per_prompt

    @property
    def workload(self) -> Workload:
        policies = 2 if self.off_policy else 1
        return Workload(
            main=self.teacher,
            frozen=self.student,
            passes=PASSES[self.procedure],
            completions_per_item=policies * self.samples_per_prompt,
            max_completion_tokens=self.on_policy.config.max_completion_tokens,
            scores_in_parts=True,
        )

    @property
    def model_pair(self) -> ModelPair | None:
        """The pair; its vocabularies must match. None across tokenizers."""
        pair = ModelPair("diagnosis", self.teacher.base_model, self.student.base_model)
        return None if self.across_tokenizers else pair


class _BeforeAndAfter(Stage):
    """A stage that reads two evaluations of one student on the same items, before and after distillation."""

    if TYPE_CHECKING:  # fields of the subclasses: their order is that of a stage's inputs
        before: Evaluate
        after: Evaluate

    @pydantic.model_validator(mode="after")
    def _same_items(self) -> Self:
        if self.before.data != self.after.data:
            raise ValueError("both evaluations must be on the same items")
        return self

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def data(self) -> tuple[TaskData, ...]:
        """The items of both evaluations."""
        return self.after.data


class Continue(_BeforeAndAfter):
    """Let a teacher continue what a student began to write, and grade the result (section 6.5, Figure 4).

    Prompts: those the student solved by majority before distillation and fails after it; prefixes: the first tokens of
    its wrong completions of them (`repro.evaluation.prefix_cuts`).
    """

    kind: Literal["continue"] = "continue"
    version: ClassVar[int] = 2

    teacher: ModelInput
    before: Evaluate
    after: Evaluate
    prefixes: PrefixConfig
    seed: int

    @property
    def label(self) -> str:
        return f"continue prefixes of {self.after.model.model_label} with {self.teacher.model_label}"

    @property
    def samples_per_prompt(self) -> int:
        """Completions per prefix length, including no prefix."""
        return self.prefixes.per_prompt * self.prefixes.continuations

    @property
    def workload(self) -> Workload:
        return Workload(
            main=self.teacher,
            passes=PASSES[self.procedure],
            engine=self.after.config.engine,
            completions_per_item=self.samples_per_prompt * (2 + len(self.prefixes.fractions)),  # none, shares, re-check
            max_completion_tokens=self.after.config.max_completion_tokens,
        )

    @property
    def model_pair(self) -> ModelPair:
        return ModelPair("prefixes", self.teacher.base_model, self.after.model.base_model)


class Classify(_BeforeAndAfter):
    """Classify how a student fails on prompts it solved by majority before distillation (section 6.5).

    judge: a local or served model that reads the completions; None for the rules in `repro.evaluation.failure_modes`.
    """

    kind: Literal["classify"] = "classify"
    version: ClassVar[int] = 2

    before: Evaluate
    after: Evaluate
    judge: Annotated[BaseModelRef | ServedModelRef, pydantic.Field(discriminator="kind")] | None
    engine: EngineName
    seed: int

    @property
    def label(self) -> str:
        return f"failure modes of {self.after.model.model_label}"

    @property
    def samples_per_prompt(self) -> int:
        return self.after.config.completions_per_prompt

    @property
    def workload(self) -> Workload:
        """The judge's replies, without their prompts; nothing for the rules."""
        if self.judge is None:
            return Workload()
        if not isinstance(self.judge, BaseModelRef):
            return Workload(completions_per_item=self.samples_per_prompt, max_completion_tokens=ANSWER_TOKENS)
        return Workload(
            main=self.judge,
            passes=PASSES[self.procedure],
            engine=self.engine,
            completions_per_item=self.samples_per_prompt,
            max_completion_tokens=ANSWER_TOKENS,
            batch_sequences=JUDGED_AT_ONCE,
        )
