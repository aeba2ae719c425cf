"""The decision rule for verdicts, Holm's correction, and how much data would decide.

A statement puts an estimate inside an allowed region [low, high]: an ordering [0, inf), a non-inferiority
[-margin, inf), an equivalence [-margin, margin]. At level a, with the interval of confidence 1 - a around the
estimate:
    reproduced     the whole interval lies inside the region
    contradicted   the whole interval lies outside it
    inconclusive   neither; or a training claim has one training seed, and the gap to the region's edge is under
                   5 standard errors
A fourth verdict, not testable, is not a matter of statistics: there was nothing for the claim to be true or false of,
such as a student at chance (`repro.tables.verdicts.floor`) or a calibrated teacher that has not moved
(`repro.calibration.idle`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, isinf, log, sqrt
from typing import Literal, get_args

import numpy as np
from scipy import special

from repro.tables.measured_table import Array
from repro.tables.statistics.resampling import Estimate

VerdictValue = Literal["reproduced", "contradicted", "inconclusive", "not testable"]
VERDICT_VALUES: tuple[VerdictValue, ...] = get_args(VerdictValue)

ONE_SEED_CAP = 5.0  # standard errors the gap must exceed if a single training seed shows no spread
ONE_SEED = (
    f"the interval is clear of the bound, but with one training seed the estimate must be more than {ONE_SEED_CAP:g}"
    " standard errors away from it"
)
"""Reason of a verdict that is inconclusive because of the cap alone."""
POWER = 0.8  # power of the test that "would decide"
SMALLEST_P = 1e-15  # smaller p-values with seeds are reported as this
MOST_SEEDS = 100  # maximum that an inconclusive verdict may ask for
NEVER = 10**5  # more items are never requested: the paper's tasks together have less than half as many


@dataclass(frozen=True)
class Region:
    """Allowed values of an estimate, ends included."""

    low: float = -inf
    high: float = inf

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def gap(self, value: float) -> float:
        """Return the distance from the value to the nearest edge of the region."""
        return min(abs(value - edge) for edge in (self.low, self.high) if not isinf(edge))


@dataclass(frozen=True)
class RequiredData:
    """Totals that would decide a gap of the estimated size with 80 % power; None: no more are needed."""

    items: int | None
    seeds: int | None

    @property
    def is_realistic(self) -> bool:
        """True if a feasible amount of additional data would decide."""
        needed = [n for n in (self.items, self.seeds) if n is not None]
        return bool(needed) and max(needed) <= NEVER

    def describe(self, now: Estimate, decided: str = "a gap of this size") -> str:
        """Phrase the requirement as part of a sentence. decided: what these totals would decide."""
        if not self.is_realistic:
            return f"no realistic number of items or seeds would decide {decided}"
        parts = []
        if self.items is not None:
            parts.append(f"about {self.items:,} items in all (now {now.items:,})")
        if self.seeds is not None:
            parts.append(f"{self.seeds} or more training seeds (now {now.seeds})")
        return f"{' and '.join(parts)} would decide {decided}"


def t_quantile(level: float, df: float) -> float:
    """Return the half-width, in standard errors, of an interval of confidence 1 - level."""
    return float(-special.stdtrit(df, level / 2))


def half_width(estimate: Estimate, level: float, more_items: float = 0.0, more_seeds: float = 0.0) -> float:
    """Return half the interval: sqrt(t_items**2 var_items + t_seeds**2 var_seeds), each t with its own df.

    A single t with pooled degrees of freedom (Satterthwaite) is too narrow with two or three seeds: it trusts a
    between-seed variance that is small by chance. `more_items` and `more_seeds` are added to the two variances.
    """
    squared = t_quantile(level, estimate.items - estimate.tasks) ** 2 * (estimate.var_items + more_items)
    if estimate.seeds > 1:
        squared += t_quantile(level, estimate.seeds - 1) ** 2 * (estimate.var_seeds + more_seeds)
    return sqrt(squared)


def interval(estimate: Estimate, level: float) -> tuple[float, float]:
    """Return the interval with confidence 1 - level."""
    half = half_width(estimate, level)
    return estimate.value - half, estimate.value + half


def p_value(estimate: Estimate, region: Region) -> float:
    """Return the two-sided p: the level at which the interval just touches the region's nearest edge."""
    gap = region.gap(estimate.value)
    if gap == 0:
        return 1.0
    if estimate.se == 0:
        return 0.0
    if estimate.var_seeds == 0:
        return float(2 * special.stdtr(estimate.items - estimate.tasks, -gap / estimate.se))
    if half_width(estimate, SMALLEST_P) < gap:
        return SMALLEST_P
    # The interval shrinks as the level grows: bisect for the level at which it just touches.
    low, high = log(SMALLEST_P), 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if half_width(estimate, exp(middle)) < gap else (middle, high)
    return exp(high)


def decide(estimate: Estimate, region: Region, p: float, level: float, training: bool) -> VerdictValue:
    """Apply the rule above; p <= level means the interval is clear of the edge."""
    if p > level or is_capped(estimate, region, training):
        return "inconclusive"
    return "reproduced" if region.contains(estimate.value) else "contradicted"


def is_capped(estimate: Estimate, region: Region, training: bool) -> bool:
    """Return True if a single training seed cannot decide: it shows no between-run spread, and the gap is small."""
    return training and estimate.seeds == 1 and region.gap(estimate.value) <= ONE_SEED_CAP * estimate.se


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[float], list[float]]:
    """Apply Holm's step-down: (adjusted p, the level at which each p was tested), both in the given order.

    p <= its level exactly where adjusted p <= alpha. After the first failure, the level stays the same.
    """
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    adjusted, levels = [0.0] * len(p_values), [0.0] * len(p_values)
    worst, stopped_at = 0.0, 0.0
    for step, n in enumerate(order):
        remaining = len(p_values) - step
        worst = max(worst, min(1.0, remaining * p_values[n]))
        adjusted[n] = worst
        levels[n] = stopped_at or alpha / remaining
        if p_values[n] > alpha / remaining and not stopped_at:
            stopped_at = alpha / remaining
    return adjusted, levels


def required_data(estimate: Estimate, region: Region, level: float, training: bool) -> RequiredData:
    """Return how many items and seeds would make a gap of this size conclusive with 80 % power.

    Among all seed counts up to MOST_SEEDS, returns the cheapest (seeds times items). One seed says nothing about the
    spread between training runs; three is the minimum that does.
    """
    gap = region.gap(estimate.value)
    if gap == 0:
        return RequiredData(None, None)
    z = t_quantile(level, estimate.items - estimate.tasks)
    power = float(special.ndtri(POWER))
    if estimate.var_seeds == 0:
        factor = ((z + power) / gap) ** 2 * estimate.var_items
        return RequiredData(_larger_total(estimate.items, factor), 3 if training and estimate.seeds == 1 else None)
    seeds_K = np.arange(estimate.seeds, MOST_SEEDS + 1)
    of_seeds_K = estimate.var_seeds * estimate.seeds / seeds_K
    t_K = -special.stdtrit(seeds_K - 1, level / 2)

    def reach(of_items_K: Array) -> Array:
        return np.sqrt(z**2 * of_items_K + t_K**2 * of_seeds_K) + power * np.sqrt(of_items_K + of_seeds_K)

    # For each number of seeds, bisect for the item variance at which the gap is just conclusive.
    low_K, high_K = np.zeros(len(seeds_K)), np.full(len(seeds_K), estimate.var_items)
    possible_K = reach(low_K) < gap
    if not possible_K.any():
        return RequiredData(None, None)
    for _ in range(60):
        middle_K = (low_K + high_K) / 2
        enough_K = reach(middle_K) <= gap
        low_K, high_K = np.where(enough_K, middle_K, low_K), np.where(enough_K, high_K, middle_K)
    factor_K = np.where(possible_K, estimate.var_items / np.maximum(low_K, 1e-300), np.inf)
    best = int(np.argmin(factor_K * seeds_K))
    seeds = int(seeds_K[best])
    return RequiredData(_larger_total(estimate.items, float(factor_K[best])), seeds if seeds > estimate.seeds else None)


def _larger_total(now: int, factor: float) -> int | None:
    """Return the total the factor requires, or None if the present one suffices to within a hundredth."""
    return ceil(min(now * factor, 10 * NEVER)) if factor > 1.01 else None
