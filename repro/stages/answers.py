"""Stages that grade stored completions, and that score graded completions with another model."""

from typing import Annotated, ClassVar, Literal

import pydantic

from repro.generation.config import SamplingConfig
from repro.stages.completions import Completions
from repro.stages.measuring import Evaluate
from repro.stages.references import BaseModelRef, Model, TaskData
from repro.stages.stage import Stage
from repro.stages.training import ModelInput
from repro.stages.workload import Workload, scoring_workload


class Grade(Stage):
    """Grade stored completions of held-out prompts, as an evaluation does: how useful a guarded teacher is to users."""

    kind: Literal["grade"] = "grade"
    version: ClassVar[int] = 1

    completions: Completions
    reward_model: BaseModelRef | None
    seed: int

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def model(self) -> Model:
        """The model whose tokens the completions are in."""
        return self.completions.model

    @property
    def data(self) -> tuple[TaskData, ...]:
        return self.completions.data

    @property
    def config(self) -> SamplingConfig:
        """How the completions were sampled."""
        return self.completions.config

    @property
    def label(self) -> str:
        return f"grade {self.completions.traces_label}"

    @property
    def samples_per_prompt(self) -> int:
        return self.config.completions_per_prompt

    @property
    def workload(self) -> Workload:
        return Workload(reward_model=self.reward_model)


class ScoreAnswers(Stage):
    """Score graded completions with another model.

    An evaluated student's, scored by its starting point: how far it has moved. A guarded teacher's, scored by a reader
    model: how readable it is.

    per_item: score only this many completions per item, the first ones.
    """

    kind: Literal["score-answers"] = "score-answers"
    version: ClassVar[int] = 1

    answers: Annotated[Evaluate | Grade, pydantic.Field(discriminator="kind")]
    model: ModelInput
    per_item: int = pydantic.Field(gt=0)
    seed: int

    @property
    def data(self) -> tuple[TaskData, ...]:
        return self.answers.data

    @property
    def label(self) -> str:
        return f"{self.answers.label}: scored by {self.model.model_label}"

    @property
    def samples_per_prompt(self) -> int:
        return min(self.per_item, self.answers.samples_per_prompt)

    @property
    def workload(self) -> Workload:
        return scoring_workload(self.procedure, self.model, self.answers.config, self.samples_per_prompt)
