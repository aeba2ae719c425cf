"""Items and completion tokens that a stage will get, before it runs."""

from repro.recipes.assumed import assumed
from repro.stages import Stage
from repro.tasks.row_counts import expected_items


def planned_items(stage: Stage) -> int:
    """Count the items that the stage will get: the number requested, or all if there are fewer or none is given."""
    return sum(
        expected_items(data.task, data.split, data.n, data.revision) or assumed("train_items") for data in stage.data
    )


def planned_sequences(stage: Stage) -> int:
    """Count the completions that the stage samples, scores or trains on, at most."""
    workload = stage.workload
    return workload.steps * workload.sequences_per_step + planned_items(stage) * workload.completions_per_item


def planned_tokens(stage: Stage) -> float:
    """Return an upper bound on the completion tokens that the stage samples, scores or trains on."""
    return float(planned_sequences(stage) * stage.workload.max_completion_tokens)
