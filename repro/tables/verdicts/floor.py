"""The floors of a collapse, of a recovery and of a gain per query: what is not there can be neither lost, recovered nor shared.

A collapse is judged on the tasks whose score before is above chance: its 95 % interval lies above. Without any such task the
claim is not testable. A recovery is judged where the gain to be recovered is above zero, by its 95 % interval; gains per
query are compared where a side has a gain at all, since a loss looks smaller the more queries it took.
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
    """Return the tasks whose left side is above chance, and the others in words: task, score and chance."""
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
    """Return True if the mean of one side's cells is above zero: its 95 % interval is. None stands for a missing side."""
    keys = [cell for cell in cells if cell is not None]
    if not keys:
        return False
    draws = Resamples(measured, keys, resamples, seed)
    return interval(draws.estimate({key: 1.0 / len(keys) for key in keys}, training=False), LEVEL)[0] > 0


def has_gain(comparisons: Sequence[Comparison], measured: MeasuredTable, resamples: int, seed: int) -> bool:
    """Return True if any side of any comparison is above zero."""
    return any(
        is_above_zero(side, measured, resamples, seed)
        for comparison in comparisons
        for side in zip(*comparison.pairs, strict=True)
    )
