"""The floors of a collapse and of a recovery: what is not there can be neither lost nor recovered.

A collapse is judged on the tasks whose score before is above chance: its 95 % interval lies above. Without any such task the
claim is not testable. A recovery is judged where the gain to be recovered is above zero, by its 95 % interval.
"""

from collections.abc import Sequence

from repro.tables.measured_table import MeasuredTable
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


def is_right_side_above_zero(comparison: Comparison, measured: MeasuredTable, resamples: int, seed: int) -> bool:
    """Return True if the mean of a comparison's right side is above zero: its 95 % interval is."""
    keys = [right for _, right in comparison.pairs if right is not None]
    draws = Resamples(measured, keys, resamples, seed)
    return interval(draws.estimate({key: 1.0 / len(keys) for key in keys}, training=False), LEVEL)[0] > 0
