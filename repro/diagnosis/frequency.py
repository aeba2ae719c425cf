"""Figure 2: each token's mean contribution to the KL (Eq 4) against its frequency, for several K.

Contributions are stored per block of neighbouring prompts, for a jackknife over blocks: an interval over tokens
alone would treat the tokens of one completion as independent.
Shapes: N blocks, J values of K (|V| last), U token ids that occur.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata

from repro.diagnosis.columns import Array
from repro.diagnosis.influence import influence_values
from repro.traps import Contributions, Interval

FEWEST_TOKENS = 3
FEWEST_BLOCKS = 3
"""Tokens that occur in fewer blocks are left out of a correlation, which would depend on single blocks."""


@dataclass(frozen=True)
class Frequencies:
    """One task. All arrays are over the U ids that were realised at least once.

    Attributes:
        ks: J values of K, the vocabulary's size last.
        ids: [U]. sums, counts: [N, J, U] sum of the terms p(v)(log p(v) - log q(v)) over steps with v in the
            Top-K, nats, and the number of those steps. realised: [N, U] how often v was sampled: its frequency.
        realised_kl: [N, U] summed token KL of the steps at which v was sampled, nats.
    """

    ks: tuple[int, ...]
    ids: NDArray[np.int64]
    sums: Array
    counts: Array
    realised: Array
    realised_kl: Array

    @classmethod
    def of_blocks(cls, blocks: Sequence[Contributions]) -> "Frequencies":
        """Build from the contributions of each block."""
        total = sum(block.realised_counts.numpy() for block in blocks)
        ids = np.flatnonzero(np.asarray(total))
        mean = np.stack([block.mean.numpy()[:, ids] for block in blocks])
        counts = np.stack([block.counts.numpy()[:, ids] for block in blocks]).astype(np.float64)
        realised = np.stack([block.realised_counts.numpy()[ids] for block in blocks]).astype(np.float64)
        realised_mean = np.stack([block.realised_mean.numpy()[ids] for block in blocks])
        return cls(
            ks=blocks[0].ks,
            ids=ids,
            sums=np.where(counts > 0, mean, 0.0) * counts,
            counts=counts,
            realised=realised,
            realised_kl=np.where(realised > 0, realised_mean, 0.0) * realised,
        )

    def mean_contribution(self, weight_N: Array | None = None) -> Array:
        """Return [J, U] C_K(v), nats; NaN where v was never in the Top-K. weight_N: of each block."""
        w = np.ones(len(self.sums)) if weight_N is None else weight_N
        sums, counts = np.tensordot(w, self.sums, 1), np.tensordot(w, self.counts, 1)
        return np.where(counts > 0, sums / np.where(counts > 0, counts, 1.0), np.nan)

    @cached_property
    def common(self) -> NDArray[np.bool_]:
        """[U] true for tokens that occur in `FEWEST_BLOCKS` blocks or more."""
        return (self.realised > 0).sum(0) >= min(FEWEST_BLOCKS, len(self.realised))

    def correlations(self, weight_N: Array | None = None) -> Array:
        """Return [J] Spearman correlations of frequency and C_K over the common tokens that have both; NaN below three."""
        w = np.ones(len(self.sums)) if weight_N is None else weight_N
        frequency_U, mean_JU = w @ self.realised, self.mean_contribution(w)
        return np.array([_spearman(frequency_U[self.common], row_U[self.common]) for row_U in mean_JU])

    def influence(self) -> Array:
        """Return [N, J] influence values of the correlations (`repro.diagnosis.influence`)."""
        N = len(self.sums)
        without_NJ = np.stack([self.correlations((np.arange(N) != n).astype(np.float64)) for n in range(N)])
        all_J = self.correlations()
        return np.stack([influence_values(total, without) for total, without in zip(all_J, without_NJ.T)], axis=1)

    def intervals(self, level: float) -> list[Interval]:
        """Return J intervals, by Student's t on the influence values. `prompts` and `rollouts` both count blocks.

        A percentile bootstrap of blocks would be biased: a resample holds two thirds of the blocks, and ranks of
        smaller counts correlate less.
        """
        N = len(self.sums)
        values_J, influence_NJ = self.correlations(), self.influence()
        se_J = np.full(len(values_J), np.nan) if N < 2 else influence_NJ.std(axis=0, ddof=1) / np.sqrt(N)
        half_J = -stdtrit(max(N - 1, 1), (1 - level) / 2) * se_J
        return [
            Interval(
                value=float(value),
                low=float(np.maximum(value - half, -1.0)),
                high=float(np.minimum(value + half, 1.0)),
                se=float(se),
                defined=float(np.isfinite(influence_NJ[:, j]).mean()),
                level=level,
                prompts=N,
                rollouts=N,
            )
            for j, (value, se, half) in enumerate(zip(values_J, se_J, half_J))
        ]

    def points(self) -> NDArray[np.intp]:
        """Return [J], the number of tokens behind each correlation."""
        return np.isfinite(self.mean_contribution()[:, self.common]).sum(1)


def _spearman(x: Array, y: Array) -> float:
    has_both = (x > 0) & np.isfinite(y)
    if has_both.sum() < FEWEST_TOKENS:
        return float("nan")
    a, b = rankdata(x[has_both]), rankdata(y[has_both])
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else float("nan")
