"""Row counts of the data sets, for plans that must not promise more items than exist. Fetches nothing."""

import functools
from dataclasses import dataclass

from repro.tasks.splits import TEST_SHARE
from repro.tasks.task import Split
from repro.toy.pool import SHAPES, questions
from repro.toy.world import DEFAULT_WORLD, parse_world


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

Toy tasks: of the default world. Drawing the rows takes a tenth of a second, which `repro list` and every plan would wait
for; a plan in another world does (`count_rows`)."""


@functools.cache
def count_rows(task: str, revision: str | None = None) -> RowCounts | None:
    """Return the numbers of rows of a data set; None if unknown.

    Args:
        revision: of a toy task the name of its world, None for the default one; of others it changes nothing.
    """
    if task not in SHAPES or revision is None or revision == DEFAULT_WORLD.facts_name:
        return ROW_COUNTS.get(task)
    world = parse_world(revision)
    return RowCounts(
        len(questions(world, task, "train")), len(questions(world, task, "test")), divided=False, counted=True
    )


def count_items(task: str, split: Split, revision: str | None = None) -> int | None:
    """Return the items that a task has in a split; None if unknown before the rows are read.

    For rows divided by content this is the expected number, accurate to a percent or so. Repeated texts are one item, so
    it is an upper bound.

    Args:
        revision: see `count_rows`.
    """
    published = count_rows(task, revision)
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


def expected_items(task: str, split: Split, requested: int | None, revision: str | None = None) -> int | None:
    """Return the items that a stage gets if it requests that many (None: all); None if unknown.

    Args:
        revision: see `count_rows`.
    """
    available = count_items(task, split, revision)
    if available is None:
        return None if requested is None else requested
    return available if requested is None else min(requested, available)
