"""Stages that sample, select, mix, rewrite and score completions.

All but the scores produce rollout files, so they can be chained in any order, and a student can learn from each.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pydantic

from repro.distillation.config import SelectionConfig
from repro.generation.config import SamplingConfig
from repro.guards.base import SamplerGuardField, TextGuardField
from repro.stages.references import ServedModelRef, TaskData
from repro.stages.stage import Stage
from repro.stages.workload import Workload, sampling_workload, scoring_workload

if TYPE_CHECKING:  # pydantic gets the union of models at the end of `training`, where all of them are defined
    from repro.stages.references import Model as ModelInput


class Sample(Stage):
    """Sample completions of training prompts: what off-policy students learn from."""

    kind: Literal["sample"] = "sample"
    version: ClassVar[int] = 1
    feeds_training: ClassVar[bool] = True

    model: "ModelInput"
    data: tuple[TaskData, ...]
    config: SamplingConfig
    seed: int

    @property
    def label(self) -> str:
        return f"sample {self.model.model_label}"

    @property
    def traces_label(self) -> str:
        """The name of the completions in labels of the stages that read them."""
        return self.model.model_label

    @property
    def workload(self) -> Workload:
        return sampling_workload(self.procedure, self.model, self.config)

    def prompted_models(self) -> dict[str, bool]:
        return {self.model.base_model.name: self.config.reasoning}


class Guarded(Stage):
    """Sample completions from a guard's distribution, built from a teacher and a proxy of the thief's student.

    holdout: the teacher's completions, if the guard reads some.
    """

    kind: Literal["guarded"] = "guarded"
    version: ClassVar[int] = 2
    feeds_training: ClassVar[bool] = True

    model: "ModelInput"
    proxy: "ModelInput"
    guard: SamplerGuardField
    holdout: Sample | None
    data: tuple[TaskData, ...]
    config: SamplingConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _holdout_where_it_is_read(self) -> "Guarded":
        if (self.holdout is not None) != self.guard.reads_holdout:
            raise ValueError("a holdout is for guards that read one, and only for these")
        if self.config.engine != "transformers":
            raise ValueError("a guard that changes the sampling distribution needs engine=transformers")
        return self

    @property
    def label(self) -> str:
        return f"sample {self.traces_label}"

    @property
    def traces_label(self) -> str:
        """The name of the completions in labels of the stages that read them."""
        return f"{self.model.model_label} through {self.guard.label}"

    @property
    def workload(self) -> Workload:
        sampling = sampling_workload(self.procedure, self.model, self.config)
        passes = replace(sampling.passes, frozen=self.guard.proxy_count)
        return replace(sampling, frozen=self.proxy, passes=passes, takes_gradient=self.guard.reads_holdout)

    def prompted_models(self) -> dict[str, bool]:
        return {self.model.base_model.name: self.config.reasoning}


class _Derived(Stage):
    """A stage that turns completions into completions of the same prompts."""

    feeds_training: ClassVar[bool] = True

    completions: "Completions"
    seed: int

    @property
    def model(self) -> "ModelInput":
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
        return self.traces_label

    @property
    def traces_label(self) -> str:
        """The name of the completions in labels of the stages that read them."""
        raise NotImplementedError

    @property
    def workload(self) -> Workload:
        return Workload()


class Select(_Derived):
    """Select completions prompt by prompt (see `SelectionConfig`); prompts with none left are dropped.

    voters: completions whose majority answer decides; scores: log-probabilities of the completions. Each is set only if
    the rule needs it.
    """

    kind: Literal["select"] = "select"
    version: ClassVar[int] = 1

    voters: "Completions | None" = None
    scores: "Score | None" = None
    selection: SelectionConfig

    @pydantic.model_validator(mode="after")
    def _rule_has_its_inputs(self) -> "Select":
        needed = (self.selection.rule == "majority", self.selection.rule == "likeliest")
        if (self.voters is not None, self.scores is not None) != needed:
            raise ValueError("voters are for the rule majority, scores for the rule likeliest, and only for these")
        if self.voters is not None and self.voters.data != self.data:
            raise ValueError("voters must answer the same items")
        if self.scores is not None and self.scores.completions != self.completions:
            raise ValueError("scores must be of the same completions")
        return self

    @property
    def reads_answers(self) -> bool:
        return self.selection.rule == "majority"

    @property
    def traces_label(self) -> str:
        by = f" of {self.voters.traces_label}" if self.voters else ""
        return f"{self.completions.traces_label} ({self.selection.rule}{by})"


class Mix(_Derived):
    """Replace the completions of a random share of the prompts (drawn by the seed) with another source's."""

    kind: Literal["mix"] = "mix"
    version: ClassVar[int] = 1

    supplement: "Completions"
    share: float = pydantic.Field(gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _same_items(self) -> "Mix":
        if self.supplement.data != self.data:
            raise ValueError("both sources must answer the same items")
        return self

    @property
    def traces_label(self) -> str:
        return f"{self.completions.traces_label} with {self.share:.0%} {self.supplement.traces_label}"


class Rewrite(_Derived):
    """Rewrite each completion's text with a guard; log-probabilities are lost."""

    kind: Literal["rewrite"] = "rewrite"
    version: ClassVar[int] = 1

    guard: TextGuardField

    def served_models(self) -> Iterator[ServedModelRef]:
        if self.guard.endpoint is not None:
            url, name = self.guard.endpoint.url, self.guard.endpoint.model
            yield ServedModelRef(name=name, url=url, purpose="rewriter")

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def traces_label(self) -> str:
        return f"{self.completions.traces_label} through {self.guard.label}"


class Score(Stage):
    """Score completions with a model other than their sampler. Writes a row per completion: its tokens and nats."""

    kind: Literal["score"] = "score"
    version: ClassVar[int] = 1
    feeds_training: ClassVar[bool] = True

    completions: "Completions"
    model: "ModelInput"
    seed: int

    @property
    def data(self) -> tuple[TaskData, ...]:
        return self.completions.data

    @property
    def label(self) -> str:
        return f"score {self.completions.traces_label} by {self.model.model_label}"

    @property
    def workload(self) -> Workload:
        config = self.completions.config
        return scoring_workload(self.procedure, self.model, config, config.completions_per_prompt)


Completions = Annotated[Sample | Guarded | Select | Mix | Rewrite, pydantic.Field(discriminator="kind")]
"""A rollout file that a stage reads."""
