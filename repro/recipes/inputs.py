"""What several studies start from: models, items, and the calibrated teachers that they share."""

from repro.errors import InputError
from repro.models import revision_of
from repro.pipeline.stages import BaseModelRef, Calibrate, TaskData
from repro.recipes.settings import Family, Settings
from repro.tasks import registry
from repro.tasks.task import Split

ITEM_ORDER = 0
"""Items are the same for every seed: seeds are repetitions of training and sampling, paired on the items."""


def base(name: str) -> BaseModelRef:
    """A model from outside, with the identity of its content."""
    return BaseModelRef(name=name, revision=revision_of(name))


def task_data(settings: Settings, split: Split) -> tuple[TaskData, ...]:
    """The items of every task of the study; for training, of those that are not for evaluation only (Vicuna).

    Raises:
        InputError: nothing can be trained on.
    """
    n = settings.train_items if split == "train" else settings.test_items
    tasks = [task for task in settings.tasks if split == "test" or registry.has_training(task)]
    if not tasks:
        raise InputError(
            f"tasks {', '.join(settings.tasks)}: for evaluation only, so nothing can be trained. Add another."
        )
    return tuple(TaskData(task=task, split=split, n=n, seed=ITEM_ORDER) for task in tasks)


def reward_model_of(settings: Settings) -> BaseModelRef | None:
    """The reward model, where some task is open-ended."""
    open_ended = any(registry.kind_of(task) == "open" for task in settings.tasks)
    return base(settings.reward_model) if settings.reward_model and open_ended else None


def calibrated(models: Family, settings: Settings, eta: float, seed: int) -> Calibrate:
    """The family's teacher calibrated on all tasks of the study: one stage for every study that asks for it."""
    return Calibrate(
        teacher=base(models.teacher),
        target=base(models.target),
        data=task_data(settings, "train"),
        reward_model=reward_model_of(settings),
        config=settings.calibration.model_copy(update={"eta": eta}),
        seed=seed,
    )
