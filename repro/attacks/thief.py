"""What a thief has: a student, its own samples, and what a guarded teacher shows. Attacks compose stages from it."""

from dataclasses import dataclass
from typing import Any

from repro.distillation.config import SelectionConfig, WeighingConfig
from repro.distillation.loss import LOSSES
from repro.guards.base import Guard
from repro.recipes.guarded import served_completions, served_model
from repro.recipes.shared_stages import Pair, base_model
from repro.stages import BaseModelRef, Completions, Distill, Mix, ModelInput, Score, Select, Weigh


@dataclass(frozen=True)
class Thief:
    """The thief's side of one pair, against one guard. Stages are shared with other studies where they are the same."""

    pair: Pair
    guard: Guard

    @property
    def teacher(self) -> ModelInput:
        """The served model; an attack that needs logits reads all of them."""
        return served_model(self.pair, self.guard)

    @property
    def student(self) -> BaseModelRef:
        """The untouched student."""
        return self.pair.student

    @property
    def traces(self) -> Completions:
        """The completions of the training prompts, as the teacher shows them."""
        return served_completions(self.pair, self.guard, "train", self.pair.settings.teacher_sampling)

    @property
    def own(self) -> Completions:
        """The untouched student's own completions of the training prompts."""
        return self.pair.own_completions

    @property
    def supplement(self) -> Completions:
        """The traces of another, unguarded teacher: the family's calibration target."""
        return self.traces_of(base_model(self.pair.models.target))

    def traces_of(self, model: ModelInput) -> Completions:
        """Sample a model's completions of the training prompts, with a teacher's settings."""
        return self.pair.traces(model)

    def majority(self, completions: Completions, voters: Completions) -> Select:
        """Keep the completions that state the majority answer of `voters`."""
        rule = SelectionConfig(rule="majority")
        return Select(completions=completions, voters=voters, selection=rule, seed=self.pair.seed)

    def shortest(self, completions: Completions, share: float) -> Select:
        """Keep the share of each prompt's completions with the fewest tokens."""
        rule = SelectionConfig(rule="shortest", share=share)
        return Select(completions=completions, selection=rule, seed=self.pair.seed)

    def likeliest(self, completions: Completions, share: float) -> Select:
        """Keep the share of each prompt's completions with the highest per-token likelihood under the student."""
        scores = Score(completions=completions, model=self.student, seed=self.pair.seed)
        rule = SelectionConfig(rule="likeliest", share=share)
        return Select(completions=completions, scores=scores, selection=rule, seed=self.pair.seed)

    def mix(self, completions: Completions, supplement: Completions, share: float) -> Mix:
        """Replace the completions of a share of the prompts."""
        return Mix(completions=completions, supplement=supplement, share=share, seed=self.pair.seed)

    def weigh(self, completions: Completions, holdout: Completions, config: WeighingConfig) -> Weigh:
        """Weight completions by the effect of learning from them on the student's holdout loss."""
        return Weigh(completions=completions, holdout=holdout, model=self.student, config=config, seed=self.pair.seed)

    def sft(self, completions: Completions, start: ModelInput | None = None, weights: Weigh | None = None) -> Distill:
        """Fine-tune the student, or another start, on completions, weighted if there are weights."""
        usual = self.pair.sft(self.pair.teacher)
        update: dict[str, Any] = {"student": start or self.student, "teacher": completions.model}
        update |= {"samples": completions, "weights": weights}
        return usual.model_copy(update=update)

    def sft_on_answers(self) -> Distill:
        """Fine-tune the student on the traces cut to their final answers."""
        config = self.pair.settings.sft.model_copy(update={"traces": "answer-only"})
        return self.sft(self.traces).model_copy(update={"config": config})

    def gkd_fkl(self, divergence: str | None = None) -> Distill:
        """Match the teacher's distribution on its traces; divergence: another loss (`repro list --losses`)."""
        config = self.pair.settings.gkd_fkl
        if divergence is not None:
            config = config.model_copy(update={"divergence": LOSSES.parse(divergence)})
        return self.sft(self.traces).model_copy(update={"config": config})

    def gkd_rkl(self, start: ModelInput | None = None) -> Distill:
        """Match the teacher's distribution on the student's own completions."""
        return self.pair.gkd_rkl(self.teacher).model_copy(update={"student": start or self.student})
