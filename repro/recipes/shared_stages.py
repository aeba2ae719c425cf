"""What several studies start from: models, items, and the calibrated teachers and students that they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from repro.errors import InputError
from repro.models.endpoint import is_endpoint, parse_endpoint
from repro.models.loading import revision_of
from repro.recipes.settings import Family, Settings
from repro.stages import (
    BaseModelRef,
    Calibrate,
    Distill,
    Evaluate,
    ModelInput,
    Sample,
    ServedModelRef,
    TaskData,
)
from repro.tasks import registry
from repro.tasks.task import Split

ITEM_ORDER = 0
"""Items are the same for every seed: seeds are repetitions of training and sampling, paired on the items."""
Tasks = tuple[str, ...]


_looked: ContextVar[dict[str, BaseModelRef] | None] = ContextVar("_looked", default=None)


@contextmanager
def cache_revisions() -> Iterator[None]:
    """Inside, each model's content is read once: a plan names the same few models hundreds of times."""
    seen = _looked.get()
    token = _looked.set({} if seen is None else seen)
    try:
        yield
    finally:
        _looked.reset(token)


def base_model(name: str) -> BaseModelRef:
    """A model from outside, with the identity of its content."""
    seen = _looked.get()
    if seen is None:
        return BaseModelRef(name=name, revision=revision_of(name))
    if name not in seen:
        seen[name] = BaseModelRef(name=name, revision=revision_of(name))
    return seen[name]


def task_data(settings: Settings, split: Split, tasks: Tasks | None = None) -> tuple[TaskData, ...]:
    """The items of these tasks (None: of every task of the study); for training, of those that are not for evaluation
    only (Vicuna).

    Raises:
        InputError: nothing can be trained on.
    """
    n = settings.train_items if split == "train" else settings.test_items
    chosen = tasks or settings.tasks
    usable = [task for task in chosen if split == "test" or registry.has_training_rows(task)]
    if not usable:
        raise InputError(f"tasks {', '.join(chosen)}: for evaluation only, so nothing can be trained. Add another.")
    return tuple(
        TaskData(task=task, split=split, n=n, seed=ITEM_ORDER, revision=registry.revision_of(task)) for task in usable
    )


def reward_model_of(settings: Settings, tasks: Tasks | None = None) -> BaseModelRef | None:
    """The reward model, where some task is open-ended."""
    open_ended = any(registry.kind_of(task) == "open" for task in tasks or settings.tasks)
    return base_model(settings.reward_model) if settings.reward_model and open_ended else None


def judge_of(settings: Settings) -> BaseModelRef | ServedModelRef | None:
    """What names failure modes; None for the rules.

    Raises:
        InputError: no such model, or an address without one.
    """
    if not settings.judge:
        return None
    if not is_endpoint(settings.judge):
        return base_model(settings.judge)
    where = parse_endpoint(settings.judge)
    return ServedModelRef(name=where.model, url=where.url)


def calibrated(models: Family, settings: Settings, eta: float, seed: int, tasks: Tasks | None = None) -> Calibrate:
    """The family's teacher calibrated on these tasks (None: all of the study): one stage for every study that asks
    for it."""
    return Calibrate(
        teacher=base_model(models.teacher),
        target=base_model(models.target),
        data=task_data(settings, "train", tasks),
        reward_model=reward_model_of(settings, tasks),
        config=settings.calibration.model_copy(update={"eta": eta}),
        seed=seed,
    )


def on_policy(
    models: Family, settings: Settings, teacher: ModelInput, seed: int, tasks: Tasks | None = None
) -> Distill:
    """GKD-RKL of the family's student on these tasks: Improve, Misled, and the baseline."""
    return Distill(
        student=base_model(models.student),
        teacher=teacher,
        samples=None,
        data=task_data(settings, "train", tasks),
        reward_model=reward_model_of(settings, tasks),
        config=settings.gkd_rkl,
        seed=seed,
    )


def sft(models: Family, settings: Settings, teacher: ModelInput, seed: int) -> Distill:
    """The family's student fine-tuned on the teacher's completions of the training prompts."""
    train = task_data(settings, "train")
    return Distill(
        student=base_model(models.student),
        teacher=teacher,
        samples=Sample(model=teacher, data=train, config=settings.teacher_sampling, seed=seed),
        data=train,
        reward_model=reward_model_of(settings),
        config=settings.sft,
        seed=seed,
    )


def answer_only(student: Distill) -> Distill:
    """The same student of traces that are cut to their final answer."""
    return student.model_copy(update={"config": student.config.model_copy(update={"traces": "answer-only"})})


def evaluated(model: ModelInput, settings: Settings, seed: int, tasks: Tasks | None = None) -> Evaluate:
    """Held-out items of these tasks, answered and graded."""
    return Evaluate(
        model=model,
        data=task_data(settings, "test", tasks),
        reward_model=reward_model_of(settings, tasks),
        config=settings.evaluation,
        seed=seed,
    )
