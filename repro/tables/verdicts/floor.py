"""Floors for collapse, recovery and gain per query: what is not there can be neither lost, recovered nor divided.

A collapse is judged on tasks where the score before is above chance, by its 95 % interval; without any such task, the
claim is not testable. A recovery is judged where the gain to recover is above zero, by its 95 % interval. Gains per
query are compared where some side has a gain at all, since a loss looks smaller the more queries it took.
"""

from collections.abc import Sequence

from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples
from repro.tables.verdicts.contrasts import Comparison

LEVEL = 0.05


def split_at_chance(
    comparisons: Sequence[Comparison], measured: MeasuredTable, resamples: int, seed: int
) -> tuple[tuple[str, ...], str]:
    """Split tasks by whether the left side is above chance; return those that are, and a description of the others."""
    keys = list(dict.fromkeys(left for comparison in comparisons for left, _ in comparison.pairs))
    draws = Resamples(measured, keys, resamples, seed)
    above: list[str] = []
    at: list[str] = []
    for key in keys:
        chance = measured.chance.get(key[1], 0.0)
        if interval(draws.estimate({key: 1.0}, training=False), LEVEL)[0] > chance:
            above.append(key[1])
        else:
            at.append(f"{key[1]} ({measured.mean(*key):.3f}, chance {chance:.3f})")
    return tuple(above), ", ".join(at)


def is_above_zero(cells: Sequence[CellKey | None], measured: MeasuredTable, resamples: int, seed: int) -> bool:
    """Return True if the mean of a side's cells is above zero, by its 95 % interval. None stands for a missing side."""
    keys = [cell for cell in cells if cell is not None]
    if not keys:
        return False
    draws = Resamples(measured, keys, resamples, seed)
    return interval(draws.estimate({key: 1.0 / len(keys) for key in keys}, training=False), LEVEL)[0] > 0


def has_gain(comparisons: Sequence[Comparison], measured: MeasuredTable, resamples: int, seed: int) -> bool:
    """Return True if any side of any comparison has a gain above zero."""
    return any(
        is_above_zero(side, measured, resamples, seed)
        for comparison in comparisons
        for side in zip(*comparison.pairs, strict=True)
    )
