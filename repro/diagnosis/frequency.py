"""Figure 2: each token's mean contribution to the KL (Eq 4) against its frequency, for several K and for their tails.

At K = V a token's mean runs over all steps, so a token that is likely on more steps contributes more even if nothing
lies beyond the Top-K. The tail of K is therefore measured separately: over the steps at which v is outside the Top-K.
Contributions are stored per block of neighbouring prompts, for a jackknife over blocks: an interval over tokens alone
would treat the tokens of one completion as independent.
Shapes: N blocks, J values of K (|V| last), U token ids that occur, 2J - 1 curves: the J values of K, then the tails of
all but the last.
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
"""Tokens in fewer blocks are left out of correlations, which would otherwise depend on single blocks."""
CARRIES_NOTHING = 1e-5
"""A tail with a smaller share of the KL is mere rounding error (log-probabilities are float32): correlation 0."""


@dataclass(frozen=True)
class Frequencies:
    """Frequencies and contributions of one task, for the U ids that were realised at least once.

    Attributes:
        ks: J values of K, the vocabulary's size last.
        ids: [U]. sums, counts: [N, J, U] sum of the terms p(v)(log p(v) - log q(v)) over steps with v in the
            Top-K, nats, and the number of those steps. realised: [N, U] how often v was sampled: its frequency.
        realised_kl: [N, U] summed token KL of the steps at which v was sampled, nats.
        top_kl: [N, J] the terms of the Top-K ids of every step, summed over the entire vocabulary, nats.
    """

    ks: tuple[int, ...]
    ids: NDArray[np.int64]
    sums: Array
    counts: Array
    realised: Array
    realised_kl: Array
    top_kl: Array

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
            top_kl=np.stack([(block.mean.nan_to_num(0.0) * block.counts).sum(1).numpy() for block in blocks]),
        )

    def mean_contribution(self, weight_N: Array | None = None) -> Array:
        """Return [J, U] C_K(v), nats; NaN where v was never in the Top-K. weight_N: weight of each block."""
        w = np.ones(len(self.sums)) if weight_N is None else weight_N
        sums, counts = np.tensordot(w, self.sums, 1), np.tensordot(w, self.counts, 1)
        return np.where(counts > 0, sums / np.where(counts > 0, counts, 1.0), np.nan)

    def mean_tail(self, weight_N: Array | None = None) -> Array:
        """Return [J - 1, U], nats: like `mean_contribution`, over steps with v outside the Top-K; NaN without any.

        All 0 if the tail carries nothing (`CARRIES_NOTHING`).
        """
        w = np.ones(len(self.sums)) if weight_N is None else weight_N
        sums, counts = np.tensordot(w, self.sums, 1), np.tensordot(w, self.counts, 1)
        tail_sums, tail_counts = sums[-1] - sums[:-1], counts[-1] - counts[:-1]
        is_rounding = np.abs(tail_sums).sum(1) <= CARRIES_NOTHING * (w @ self.top_kl[:, -1])
        tail_sums = np.where(is_rounding[:, None], 0.0, tail_sums)
        return np.where(tail_counts > 0, tail_sums / np.where(tail_counts > 0, tail_counts, 1.0), np.nan)

    def curves(self, weight_N: Array | None = None) -> Array:
        """Return [2J - 1, U] mean contributions, then mean tails."""
        return np.concatenate([self.mean_contribution(weight_N), self.mean_tail(weight_N)])

    @property
    def names(self) -> list[str]:
        """Names of the 2J - 1 curves: "K=1" .. "K=V", "beyond K=1" and so on."""
        below = [f"K={k}" for k in self.ks[:-1]]
        return [*below, "K=V", *(f"beyond {name}" for name in below)]

    def tail_share(self) -> Array:
        """Return [N, J - 1], the share of a block's KL that is not in the Top-K; 0 where the block has no KL."""
        total = self.top_kl[:, -1:]
        return np.where(total > 0, 1 - self.top_kl[:, :-1] / np.where(total > 0, total, 1.0), 0.0)

    @cached_property
    def common(self) -> NDArray[np.bool_]:
        """[U] true for tokens that occur in at least `FEWEST_BLOCKS` blocks."""
        return (self.realised > 0).sum(0) >= min(FEWEST_BLOCKS, len(self.realised))

    def correlations(self, weight_N: Array | None = None) -> Array:
        """Return [2J - 1] Spearman correlations of frequency and curve over the common tokens that have both.

        NaN with fewer than three tokens; 0 for a tail that carries nothing.
        """
        w = np.ones(len(self.sums)) if weight_N is None else weight_N
        frequency_U = (w @ self.realised)[self.common]
        return np.array([_spearman(frequency_U, curve_U[self.common]) for curve_U in self.curves(w)])

    def influence(self) -> Array:
        """Return [N, 2J - 1] influence values of the correlations (`repro.diagnosis.influence`)."""
        N = len(self.sums)
        without = np.stack([self.correlations((np.arange(N) != n).astype(np.float64)) for n in range(N)])
        return np.stack([influence_values(a, b) for a, b in zip(self.correlations(), without.T)], axis=1)

    def intervals(self, level: float) -> list[Interval]:
        """Return 2J - 1 intervals, by Student's t on the influence values. `prompts` and `rollouts` both count blocks.

        A percentile bootstrap over blocks would be biased: a resample contains only two thirds of the blocks, and ranks
        of smaller counts correlate less.
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
        """Return [2J - 1], the number of tokens behind each correlation."""
        return np.isfinite(self.curves()[:, self.common]).sum(1)


def _spearman(x: Array, y: Array) -> float:
    has_both = (x > 0) & np.isfinite(y)
    if has_both.sum() < FEWEST_TOKENS:
        return float("nan")
    if not y[has_both].any():
        return 0.0  # no contribution, so nothing increases with frequency
    a, b = rankdata(x[has_both]), rankdata(y[has_both])
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else float("nan")
