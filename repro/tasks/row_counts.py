"""Numbers of rows of the data sets, for plans that must not promise more items than exist. Nothing is fetched."""

import functools
from dataclasses import dataclass
from typing import get_args

from repro.tasks.splits import TEST_SHARE
from repro.tasks.task import Split
from repro.tasks.toy import TASK_NAMES as TOY_TASKS
from repro.tasks.toy import get_task


@dataclass(frozen=True)
class RowCounts:
    """Numbers of rows of a data set; None if unknown.

    Attributes:
        train, test: rows of its splits. A data set with one set of rows has them under `test`, and 0 training rows if it
            is for evaluation only.
        divided: True if its one set of rows is divided by content, nine to one.
        counted: True if the rows were counted (MEASURED), False for the number on the data set's page.
    """

    train: int | None
    test: int | None
    divided: bool
    counted: bool


ROW_COUNTS: dict[str, RowCounts] = {
    "csqa": RowCounts(9_741, 1_221, divided=False, counted=True),
    "gsm8k": RowCounts(7_473, 1_319, divided=False, counted=True),
    "mmlu-pro": RowCounts(None, 12_032, divided=True, counted=True),
    "supergpqa": RowCounts(None, 26_529, divided=True, counted=False),
    "dolly": RowCounts(None, 15_011, divided=True, counted=False),
    "vicuna": RowCounts(0, 80, divided=False, counted=True),
}
"""Big-Math's levels and quintiles are missing: their counts were not available, and none is invented."""


@functools.cache
def count_items(task: str, split: Split) -> int | None:
    """Return the items that a task has in a split; None if unknown before the rows are read.

    For rows divided by content this is the expected number, accurate to a percent or so. Repeated texts are one item, so
    it is an upper bound.
    """
    if task in TOY_TASKS:
        return len(get_task(task).questions(split)) if split in get_args(Split) else None
    published = ROW_COUNTS.get(task)
    if published is None:
        return None
    if split == "all" and not published.divided:
        return None if published.train is None or published.test is None else published.train + published.test
    if not published.divided:
        return published.train if split == "train" else published.test
    assert published.test is not None
    if split == "all":
        return published.test
    return round(published.test * (TEST_SHARE if split == "test" else 1 - TEST_SHARE))


def expected_items(task: str, split: Split, requested: int | None) -> int | None:
    """Return the items that a stage gets if it requests that many (None: all); None if unknown."""
    available = count_items(task, split)
    if available is None:
        return None if requested is None else requested
    return available if requested is None else min(requested, available)
