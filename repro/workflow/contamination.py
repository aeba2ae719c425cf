"""Contamination check: over all stages of a study, no evaluation item may be in a training split. Runs first."""

from collections.abc import Sequence
from typing import Any

from repro.errors import InputError
from repro.pipeline.stage_inputs import read_items
from repro.stages import Stage, TaskData
from repro.tasks.contamination import find_contaminated


def check_contamination(stages: Sequence[Stage]) -> dict[str, Any]:
    """Compare evaluation with training items by content, over all tasks (Big-Math contains gsm8k problems).

    Returns:
        evaluation_items, training_items: how many were compared; shared: 0.

    Raises:
        InputError: some items are shared; the message names a few.
    """
    trained: dict[TaskData, None] = {}
    held_out: dict[TaskData, None] = {}
    for stage in stages:
        for source in stage.data:
            if source.split == "test":
                held_out[source] = None
            elif stage.feeds_training:
                trained[source] = None
    if not trained or not held_out:
        return {"evaluation_items": 0, "training_items": 0, "shared": 0}
    evaluation, training_items = read_items(tuple(held_out)), read_items(tuple(trained))
    shared = find_contaminated(evaluation, training_items)
    if shared:
        tasks = sorted({item.task for item in shared})
        raise InputError(
            f"{len(shared)} evaluation items of {', '.join(tasks)} are also training items, for example"
            f" {', '.join(item.id for item in shared[:3])}: data sets overlap. Leave one of them out with --set tasks=..."
        )
    return {"evaluation_items": len(evaluation), "training_items": len(training_items), "shared": 0}
