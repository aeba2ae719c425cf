"""Contamination: evaluation items that are also training items, found by content over any mix of data sets."""

from collections.abc import Iterable

from repro.tasks.splits import content_hash
from repro.tasks.task import Item


def find_contaminated(evaluation: Iterable[Item], training: Iterable[Item]) -> list[Item]:
    """Return the evaluation items whose prompt, up to case and whitespace, is a training prompt.

    Data sets overlap (Big-Math contains gsm8k problems), so a study passes the items of all its training stages, not only
    those of the task that it evaluates.
    """
    trained_on = {content_hash(item.prompt) for item in training}
    return [item for item in evaluation if content_hash(item.prompt) in trained_on]
