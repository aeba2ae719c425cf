"""Two-level bootstrap of a pilot-study cell: prompts first, then the rollouts of each sampled prompt.

Rollouts of one prompt are correlated, so an interval that resamples only rollouts is too narrow. Resampling on both
levels is slightly conservative: the spread between rollouts counts at both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RowIndices = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval; here, bootstrap percentiles.

    Attributes:
        value: the statistic on the data itself. low, high: the interval; NaN if no resample was defined.
        se: standard deviation over the defined resamples. defined: share of resamples with a finite statistic.
        level: nominal coverage. prompts, rollouts: their numbers in the data.
    """

    value: float
    low: float
    high: float
    se: float
    defined: float
    level: float
    prompts: int
    rollouts: int


def two_level_resamples(
    prompt_ids: Sequence[Any], resamples: int, seed: int
) -> Iterator[tuple[RowIndices, RowIndices]]:
    """Yield resamples: [m] rows from 0..n-1, and [m] labels of the sampled prompts, grouped by label.

    A prompt sampled twice gets two labels.

    Raises:
        ValueError: no rollouts.
    """
    if not len(prompt_ids) or resamples < 1:
        raise ValueError("a bootstrap needs one or more rollouts and resamples")
    _, label_n = np.unique(np.asarray(prompt_ids), return_inverse=True)
    by_prompt = np.argsort(label_n, kind="stable")
    size_P = np.bincount(label_n)
    first_P = np.concatenate([[0], np.cumsum(size_P)[:-1]])
    P = len(size_P)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        prompts = rng.integers(0, P, P)
        sizes = size_P[prompts]
        offset = (rng.random(int(sizes.sum())) * np.repeat(sizes, sizes)).astype(np.intp)
        yield by_prompt[np.repeat(first_P[prompts], sizes) + offset], np.repeat(np.arange(P), sizes)


def two_level_bootstrap(
    prompt_ids: Sequence[Any],
    statistic: Callable[[RowIndices, RowIndices], float],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Compute the interval of any statistic of rollouts.

    Args:
        prompt_ids: [n] the prompt of each rollout.
        statistic: takes [m] rows from 0..n-1 and [m] labels of the sampled prompts, and returns a number.
            A prompt sampled twice gets two labels: statistics that pair or average within a prompt must group by
            label. Resamples on which it is not finite are left out and lower `defined`.
        resamples: number of resamples. level: coverage. seed: seed of the resampling.

    Raises:
        ValueError: no rollouts, or a level outside (0, 1).
    """
    (interval,) = two_level_bootstraps(
        prompt_ids, lambda rows, labels: [statistic(rows, labels)], resamples=resamples, level=level, seed=seed
    )
    return interval


def two_level_bootstraps(
    prompt_ids: Sequence[Any],
    statistics: Callable[[RowIndices, RowIndices], Sequence[float]],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Compute intervals of several statistics on the same resamples: `two_level_bootstrap` for a list of numbers."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    statistics_RM = np.array(
        [statistics(rows, labels) for rows, labels in two_level_resamples(prompt_ids, resamples, seed)]
    )
    _, label_n = np.unique(np.asarray(prompt_ids), return_inverse=True)
    values_M = statistics(np.arange(len(label_n)), label_n)
    prompts = int(label_n.max()) + 1
    return [
        percentile_interval(float(value), statistics_RM[:, m], level, prompts, len(label_n))
        for m, value in enumerate(values_M)
    ]


def percentile_interval(value: float, resampled: Any, level: float, prompts: int, rollouts: int) -> Interval:
    """Return the percentile interval of a statistic from its resamples, leaving out those that are not finite."""
    resampled = np.asarray(resampled, dtype=np.float64)
    finite = resampled[np.isfinite(resampled)]
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail]) if len(finite) else (np.nan, np.nan)
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        se=float(finite.std()) if len(finite) else float("nan"),
        defined=len(finite) / len(resampled),
        level=level,
        prompts=prompts,
        rollouts=rollouts,
    )


def ratio_interval(
    above: Any, below: Any, prompt_ids: Sequence[Any], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Compute the interval of sum(above) / sum(below) over rollouts.

    Per-token KL is summed KL over summed tokens; for a mean over sequences, `below` is all ones.

    Args:
        above, below: [n] numerator and denominator per rollout.
        prompt_ids: [n].
        resamples, level, seed: as in `two_level_bootstrap`.

    Raises:
        ValueError: columns of different length, or as `two_level_bootstrap`.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if not len(a) == len(b) == len(prompt_ids):
        raise ValueError(f"{len(a)} numerators, {len(b)} denominators and {len(prompt_ids)} prompt ids do not fit")

    def ratio(rows: RowIndices, _: RowIndices) -> float:
        total = b[rows].sum()
        return float(a[rows].sum() / total) if total else float("nan")

    return two_level_bootstrap(prompt_ids, ratio, resamples=resamples, level=level, seed=seed)
