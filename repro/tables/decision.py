"""The three-valued rule, Holm's correction, and how much data would decide.

A statement puts an estimate inside an allowed region [low, high]: an ordering [0, inf), a non-inferiority [-margin, inf),
an equivalence [-margin, margin]. At level a, with the interval of confidence 1 - a around the estimate:
    reproduced     the whole interval lies inside the region
    contradicted   the whole interval lies outside it
    inconclusive   neither, or one training seed stands behind a training claim and the gap to the region's edge is
                   under 5 standard errors
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isinf
from typing import Literal

from scipy import stats

from repro.tables.resampling import Estimate

Value = Literal["reproduced", "contradicted", "inconclusive"]

ONE_SEED_CAP = (
    5.0  # standard errors that the gap must exceed where one training seed stands for the training's spread
)
POWER = 0.8  # of the test that "would decide"
NEVER = 10**7  # more items or seeds than this are reported as not testable


@dataclass(frozen=True)
class Region:
    """Allowed values of an estimate, ends included."""

    low: float = -inf
    high: float = inf

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def gap(self, value: float) -> float:
        """Distance from the value to the nearest edge of the region."""
        return min(abs(value - edge) for edge in (self.low, self.high) if not isinf(edge))


@dataclass(frozen=True)
class Needed:
    """Totals that would decide a gap of the estimated size with 80 % power. None: more of it alone would not help."""

    items: int | None
    seeds: int | None

    def text(self, now: Estimate) -> str:
        big = [n for n in (self.items, self.seeds) if n is not None and n > NEVER]
        if big or (self.items is None and self.seeds is None):
            return "no realistic number of items or seeds would decide a gap of this size"
        parts = []
        if self.items is not None:
            parts.append(f"about {self.items:,} items in all (now {now.items:,})")
        if self.seeds is not None:
            parts.append(f"{self.seeds} or more training seeds (now {now.seeds})")
        return " and ".join(parts) + " would decide a gap of this size"


def interval(estimate: Estimate, level: float) -> tuple[float, float]:
    """Confidence interval of confidence 1 - level: estimate +- t quantile * standard error."""
    half = float(stats.t.ppf(1 - level / 2, estimate.df)) * estimate.se
    return estimate.value - half, estimate.value + half


def p_value(estimate: Estimate, region: Region) -> float:
    """Two-sided p: the level at which the interval just touches the region's nearest edge."""
    gap = region.gap(estimate.value)
    if gap == 0:
        return 1.0
    return float(2 * stats.t.sf(gap / estimate.se, estimate.df)) if estimate.se > 0 else 0.0


def decide(estimate: Estimate, region: Region, p: float, level: float, training: bool) -> Value:
    """The rule above; p <= level says that the interval is clear of the edge."""
    if p > level or capped(estimate, region, training):
        return "inconclusive"
    return "reproduced" if region.contains(estimate.value) else "contradicted"


def capped(estimate: Estimate, region: Region, training: bool) -> bool:
    """One seed says nothing about the spread between trainings, so only a gap far beyond the items' spread may speak."""
    return training and estimate.seeds == 1 and region.gap(estimate.value) <= ONE_SEED_CAP * estimate.se


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[float], list[float]]:
    """Holm's step-down: (adjusted p, the level at which each p was tested), both in the given order.

    p <= its level exactly where adjusted p <= alpha. After the first failure the level stays at that step's.
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


def needed(estimate: Estimate, region: Region, level: float, training: bool) -> Needed:
    """How many items, or seeds, would make a gap of this size conclusive with 80 % power (normal approximation).

    The larger part of the variance is brought down first; where neither part alone suffices, both are halved.
    """
    gap = region.gap(estimate.value)
    quantiles = float(stats.norm.ppf(1 - level / 2) + stats.norm.ppf(POWER))
    target, of_items, of_seeds = (gap / quantiles) ** 2, estimate.var_items, estimate.var_seeds
    if target <= 0:
        return Needed(None, None)
    if estimate.seeds == 1:
        # The spread between trainings is unknown; three seeds are the fewest that show it.
        return Needed(_more(estimate.items, of_items / target), 3 if training else None)
    if of_items <= of_seeds and of_items < target:
        more = _more(estimate.seeds, of_seeds / (target - of_items))
        return Needed(None, more or estimate.seeds + 1)
    if of_seeds < target:
        more = _more(estimate.items, of_items / (target - of_seeds))
        # Enough by the normal approximation, so it was the few degrees of freedom of the seeds that failed.
        return Needed(more, None if more else estimate.seeds + 1)
    return Needed(
        _more(estimate.items, of_items / (target / 2)), _more(estimate.seeds, of_seeds / (target / 2))
    )


def _more(now: int, factor: float) -> int | None:
    """The total that the factor asks for, where it is more than what is there."""
    return ceil(min(now * factor, 10 * NEVER)) if factor > 1 else None
