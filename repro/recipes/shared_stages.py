"""Stages shared by several studies: calibrated teachers, their students, and measurements on them."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from repro.distillation.config import Method
from repro.distillation.loss import Loss
from repro.errors import InputError
from repro.guards.config import OutputLayerConfig
from repro.models.loading import revision_of
from repro.models.template_hash import template_identity
from repro.recipes.settings import Family, Settings
from repro.recipes.study import Row, RowStage
from repro.stages import (
    BaseModelRef,
    Calibrate,
    Diagnose,
    Distill,
    Evaluate,
    ModelInput,
    Sample,
    TaskData,
    TrainOutputLayer,
)
from repro.tasks import registry
from repro.tasks.task import Split
from repro.toy.world import parse_world

ITEM_ORDER = 0
"""Seed of the item order. Every seed has the same items: seeds repeat training and sampling, paired on the items."""
Tasks = tuple[str, ...]


@dataclass(frozen=True)
class _Revisions:
    """Name to what was read of it."""

    models: dict[str, BaseModelRef] = field(default_factory=dict)
    tasks: dict[str, str | None] = field(default_factory=dict)


_revisions: ContextVar[_Revisions | None] = ContextVar("_revisions", default=None)


@contextmanager
def cache_revisions() -> Iterator[None]:
    """Cache each model's content and task's revision in this context: a plan refers to them thousands of times."""
    known = _revisions.get()
    token = _revisions.set(known or _Revisions())
    try:
        yield
    finally:
        _revisions.reset(token)


def base_model(name: str) -> BaseModelRef:
    """Return a reference to a model from outside, with the identity of its content."""
    known = _revisions.get()
    if known is None:
        return BaseModelRef(name=name, revision=revision_of(name), template=template_identity(name))
    if name not in known.models:
        known.models[name] = BaseModelRef(name=name, revision=revision_of(name), template=template_identity(name))
    return known.models[name]


def task_data(settings: Settings, split: Split, tasks: Tasks | None = None) -> tuple[TaskData, ...]:
    """Return the items of these tasks (None: every task of the study); for training, without evaluation-only tasks (Vicuna).

    Raises:
        InputError: nothing can be trained on.
    """
    n = settings.train_items if split == "train" else settings.test_items
    chosen = tasks or settings.tasks
    usable = [task for task in chosen if split == "test" or registry.has_training_rows(task)]
    if not usable:
        raise InputError(f"tasks {', '.join(chosen)}: for evaluation only, so nothing can be trained. Add another.")
    return tuple(
        _task_data(task, split, n, _facts_of(settings) if registry.is_toy_task(task) else _task_revision(task))
        for task in usable
    )


def _facts_of(settings: Settings) -> str | None:
    return parse_world(settings.world).facts_name if settings.world else None


def _task_revision(task: str) -> str | None:
    known = _revisions.get()
    if known is None:
        return registry.revision_of(task)
    if task not in known.tasks:
        known.tasks[task] = registry.revision_of(task)
    return known.tasks[task]


@functools.cache
def _task_data(task: str, split: Split, n: int | None, revision: str | None) -> TaskData:
    # A plan refers to the same few data sets thousands of times
    return TaskData(task=task, split=split, n=n, seed=ITEM_ORDER, revision=revision)


def reward_model_of(settings: Settings, tasks: Tasks | None = None) -> BaseModelRef | None:
    """Return the reward model if any of the tasks is open-ended."""
    open_ended = any(registry.kind_of(task) == "open" for task in tasks or settings.tasks)
    return base_model(settings.reward_model) if settings.reward_model and open_ended else None


def distillation_reward(settings: Settings, method: Method, tasks: Tasks | None = None) -> BaseModelRef | None:
    """Return the reward model of a distillation, which only a history shows: None unless the settings request it."""
    requested = settings.reward_while_distilling and method == "gkd-rkl"
    return reward_model_of(settings, tasks) if requested else None


@dataclass(frozen=True)
class Pair:
    """One family's teacher and student under one seed, and the stages that studies make of them.

    Two studies that ask for the same stage get the same identity, so it runs once. `tasks`: None for all of the study.
    """

    family: str
    models: Family
    settings: Settings
    seed: int

    @property
    def teacher(self) -> BaseModelRef:
        return base_model(self.models.teacher)

    @property
    def student(self) -> BaseModelRef:
        return base_model(self.models.student)

    def row(
        self,
        method: str,
        stage: RowStage,
        *,
        eta: float | None = None,
        of: str | None = None,
        guard: str | None = None,
    ) -> Row:
        """Return a measured row of this pair."""
        return Row(self.family, method, self.seed, stage, eta, of, guard)

    def calibrate(self, eta: float, tasks: Tasks | None = None) -> Calibrate:
        """Calibrate the teacher towards (eta > 0) or away from (eta < 0) what its target finds likely."""
        return Calibrate(
            teacher=self.teacher,
            target=base_model(self.models.target),
            data=task_data(self.settings, "train", tasks),
            reward_model=reward_model_of(self.settings, tasks),
            config=self.settings.calibration.model_copy(update={"eta": eta}),
            seed=self.seed,
            prompts_of=self.student if self.settings.calibration_template == "student" else None,
        )

    def calibrate_distillable(self, tasks: Tasks | None = None) -> Calibrate:
        """Calibrate the teacher of Improve."""
        return self.calibrate(self.settings.eta_distillable, tasks)

    def calibrate_undistillable(self, tasks: Tasks | None = None) -> Calibrate:
        """Calibrate the teacher of Misled."""
        return self.calibrate(self.settings.eta_undistillable, tasks)

    def traces(self, model: ModelInput) -> Sample:
        """Sample a model's completions of the training prompts, as a student learns from them."""
        train = task_data(self.settings, "train")
        return Sample(model=model, data=train, config=self.settings.teacher_sampling, seed=self.seed)

    @property
    def own_completions(self) -> Sample:
        """The untouched student's completions of the training prompts, `matrix.own_completions` of each."""
        changes = {"completions_per_prompt": self.settings.matrix.own_completions}
        sampled = self.traces(self.student)
        return sampled.model_copy(update={"config": sampled.config.model_copy(update=changes)})

    def train_output_layer(self, config: OutputLayerConfig) -> TrainOutputLayer:
        """Train the teacher's output layer on its own completions, away from the calibration target."""
        samples, target = self.traces(self.teacher), base_model(self.models.target)
        return TrainOutputLayer(teacher=self.teacher, proxy=target, samples=samples, config=config, seed=self.seed)

    def gkd_rkl(self, teacher: ModelInput, tasks: Tasks | None = None, *, loss: Loss | None = None) -> Distill:
        """Distil the student on-policy: Improve, Misled, and the baseline; None for the loss of the settings."""
        config = self.settings.gkd_rkl
        return Distill(
            student=self.student,
            teacher=teacher,
            samples=None,
            data=task_data(self.settings, "train", tasks),
            reward_model=distillation_reward(self.settings, "gkd-rkl", tasks),
            config=config.with_divergence(loss) if loss else config,
            seed=self.seed,
        )

    def sft(self, teacher: ModelInput) -> Distill:
        """Fine-tune the student on the teacher's completions of the training prompts."""
        samples = self.traces(teacher)
        return Distill(
            student=self.student,
            teacher=teacher,
            samples=samples,
            data=samples.data,
            reward_model=None,
            config=self.settings.sft,
            seed=self.seed,
        )

    def gkd_fkl(self, teacher: ModelInput) -> Distill:
        """Distil the student off-policy on the completions of `sft`."""
        return self.sft(teacher).model_copy(update={"config": self.settings.gkd_fkl})

    def no_reasoning(self, teacher: ModelInput) -> Distill:
        """Fine-tune the student on the traces of `sft` cut to their final answer."""
        config = self.settings.sft.model_copy(update={"traces": "answer-only"})
        return self.sft(teacher).model_copy(update={"config": config})

    def evaluate(self, model: ModelInput, tasks: Tasks | None = None) -> Evaluate:
        """Answer and grade the held-out items."""
        return Evaluate(
            model=model,
            data=task_data(self.settings, "test", tasks),
            reward_model=reward_model_of(self.settings, tasks),
            config=self.settings.evaluation,
            seed=self.seed,
        )

    def diagnose(self, teacher: ModelInput, *, off_policy: bool, student: ModelInput | None = None) -> Diagnose:
        """Measure the traps between a student (by default the untouched one) and a teacher on the held-out prompts.

        Completions are sampled as in the evaluation: 16 a prompt at temperature 1 (PAPER, section 4.1).
        """
        student = student or self.student
        on_policy, teachers = (
            Sample(model=model, data=task_data(self.settings, "test"), config=self.settings.evaluation, seed=self.seed)
            for model in (student, teacher)
        )
        return Diagnose(
            student=student,
            teacher=teacher,
            on_policy=on_policy,
            off_policy=teachers if off_policy else None,
            across_tokenizers=False,
            config=self.settings.diagnosis,
            seed=self.seed,
        )
