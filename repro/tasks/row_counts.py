"""How many rows the data sets have: plans must not promise more items than there are. Nothing is fetched or made."""

from dataclasses import dataclass

from repro.tasks.splits import TEST_SHARE
from repro.tasks.task import Split


@dataclass(frozen=True)
class RowCounts:
    """Rows of a data set; None where nobody told us.

    Attributes:
        train, test: rows of its own splits; a data set that comes as one set of rows has them under `test`, and
            no training split where it is for evaluation only.
        divided: whether its one set of rows is divided by content, nine to one.
        counted: whether we counted the rows ourselves (MEASURED) or have the number from the data set's page.
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
    "toy-bm4": RowCounts(765, 235, divided=False, counted=True),
    "toy-bm5": RowCounts(3_732, 1_268, divided=False, counted=True),
    "toy-csqa": RowCounts(1_451, 467, divided=False, counted=True),
    "toy-mmlu-pro": RowCounts(1_450, 470, divided=False, counted=True),
    "toy-supergpqa": RowCounts(1_716, 588, divided=False, counted=True),
    "toy-dolly": RowCounts(433, 143, divided=False, counted=True),
    "toy-vicuna": RowCounts(1_698, 606, divided=False, counted=True),
}
"""Big-Math's levels and quintiles are not here: their counts were not at hand, and none is invented."""


def count_items(task: str, split: Split) -> int | None:
    """Items that a task has for a split; None where it is not known before the rows are read.

    Where rows are divided by content the number is that of the expected division, good to a percent or so;
    repeated texts are one item, so it is an upper bound.
    """
    published = ROW_COUNTS.get(task)
    if published is None:
        return None
    if not published.divided:
        return published.train if split == "train" else published.test
    assert published.test is not None
    return round(published.test * (TEST_SHARE if split == "test" else 1 - TEST_SHARE))


def expected_items(task: str, split: Split, asked: int | None) -> int | None:
    """Items that a stage will get when it asks for so many (None: for all); None where that is not known."""
    there_are = count_items(task, split)
    if there_are is None:
        return None if asked is None else asked
    return there_are if asked is None else min(asked, there_are)
