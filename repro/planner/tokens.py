"""Estimate the items and completion tokens of a stage before it runs."""

from repro.recipes.assumed import assumed
from repro.stages import Stage
from repro.tasks.row_counts import expected_items


def planned_items(stage: Stage) -> int:
    """Count the stage's items: the number requested, or all if there are fewer or no number is given."""
    return sum(
        expected_items(data.task, data.split, data.n, data.revision) or assumed("train_items") for data in stage.data
    )


def planned_sequences(stage: Stage) -> int:
    """Return an upper bound on the completions the stage samples, scores or trains on."""
    workload = stage.workload
    return workload.steps * workload.sequences_per_step + planned_items(stage) * workload.completions_per_item


def planned_tokens(stage: Stage) -> float:
    """Return an upper bound on the completion tokens the stage samples, scores or trains on."""
    return float(planned_sequences(stage) * stage.workload.max_completion_tokens)
