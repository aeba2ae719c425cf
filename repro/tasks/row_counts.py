"""Numbers of rows of the data sets, for plans that must not promise more items than exist. Nothing is fetched."""

import functools
from dataclasses import dataclass

from repro.tasks.splits import TEST_SHARE
from repro.tasks.task import Split


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
    "toy-bm4": RowCounts(1_457, 517, divided=False, counted=True),
    "toy-bm5": RowCounts(1_475, 524, divided=False, counted=True),
    "toy-csqa": RowCounts(1_491, 509, divided=False, counted=True),
    "toy-mmlu-pro": RowCounts(1_521, 479, divided=False, counted=True),
    "toy-supergpqa": RowCounts(1_500, 500, divided=False, counted=True),
    "toy-dolly": RowCounts(1_531, 467, divided=False, counted=True),
    "toy-vicuna": RowCounts(1_507, 491, divided=False, counted=True),
}
"""Big-Math's levels and quintiles are missing: their counts were not available, and none is invented.

Toy tasks: of the default world. Another world's differ by a few rows. Drawing them takes a tenth of a second, which
`repro list` and every plan would wait for."""


@functools.cache
def count_items(task: str, split: Split) -> int | None:
    """Return the items that a task has in a split; None if unknown before the rows are read.

    For rows divided by content this is the expected number, accurate to a percent or so. Repeated texts are one item, so
    it is an upper bound.
    """
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
