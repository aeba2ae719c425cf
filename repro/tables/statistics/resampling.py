"""Two-level bootstrap of paired contrasts: training seeds outermost, then items within each task.

Shapes: R resamples, S seeds, N items of one task. Each resample draws seeds with replacement (the same for every row
and task) and items with replacement (the same for every row of a task): rows stay paired, tasks stay strata. (Items are
crossed with seeds, not nested in them: every seed was evaluated on the same items.)
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from repro.tables.measured_table import Array, CellKey, MeasuredTable, is_fraction

Contrast = Mapping[CellKey, float]  # key -> coefficient; the contrast is the sum of coefficient * the key's mean

# Elements per block of drawn counts: 32 MB, so that 26,000 items do not need gigabytes.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A contrast with its uncertainty.

    Attributes:
        value: the estimate, in the metric's unit; se: its standard error, from the two-level bootstrap.
        var_seeds: the part of se**2 that training seeds contribute (0 for one seed); var_items: the rest.
        items, seeds: number of items (over all tasks) and seeds behind it.
        tasks: number of tasks, each of which costs one degree of freedom of the items.
    """

    value: float
    se: float
    var_items: float
    var_seeds: float
    items: int
    seeds: int
    tasks: int


class Resamples:
    """All bootstrap draws of one measured table. The same `seed` gives the same draws, regardless of the keys."""

    def __init__(
        self, measured: MeasuredTable, keys: Iterable[CellKey], resamples: int = 10_000, seed: int = 0
    ) -> None:
        self.measured = measured
        self.means_S: dict[CellKey, Array] = {}
        self.draws_RS: dict[CellKey, Array] = {}
        by_task: dict[str, list[CellKey]] = {}
        for key in dict.fromkeys(keys):
            by_task.setdefault(key[1], []).append(key)
        for task, task_keys in by_task.items():
            # Seeded by the task's name, so draws do not depend on which other tasks were run.
            rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
            self._draw_task(task_keys, rng, resamples)
        self._seed_weights_RS = _seed_weights(len(measured.seeds), resamples, np.random.default_rng([seed, 0]))

    def _draw_task(self, keys: list[CellKey], rng: np.random.Generator, resamples: int) -> None:
        values = [self.measured.values[key] for key in keys]
        S, N = values[0].values_SN.shape
        plain = np.concatenate([v.values_SN if v.weights_SN is None else v.values_SN * v.weights_SN for v in values])
        weighted = [v.weights_SN for v in values if v.weights_SN is not None]
        columns = np.concatenate([plain, *weighted])
        sums = np.empty((resamples, len(columns)))
        step = max(1, _BLOCK // N)
        for start in range(0, resamples, step):
            r = min(step, resamples - start)
            flat = rng.integers(0, N, size=(r, N)) + (np.arange(r) * N)[:, None]
            counts_RN = np.bincount(flat.ravel(), minlength=r * N).reshape(r, N).astype(np.float64)
            sums[start : start + r] = counts_RN @ columns.T
        # The plain bootstrap's variance is (N - 1) / N of the unbiased one: stretch the deviations.
        stretch = np.sqrt(N / (N - 1))
        weights_at = len(keys) * S
        for index, (key, v) in enumerate(zip(keys, values, strict=True)):
            mean_S = v.means_S()
            values_RS = sums[:, index * S : (index + 1) * S]
            if v.weights_SN is None:
                draw_RS = values_RS / N
            else:
                weights_RS = sums[:, weights_at : weights_at + S]
                weights_at += S
                # A draw that misses every weighted item carries no information: it stays at the mean.
                draw_RS = np.where(weights_RS > 0, values_RS / np.where(weights_RS > 0, weights_RS, 1.0), mean_S)
            self.means_S[key] = mean_S
            self.draws_RS[key] = mean_S + stretch * (draw_RS - mean_S)

    def estimate(self, contrast: Contrast, training: bool = True) -> Estimate:
        """Return the value and uncertainty of a contrast.

        training: each seed trained its own models. If seeds only resampled the same models, they are averaged first:
        their difference is already part of the items' spread.
        """
        value_S = sum((a * self.means_S[key] for key, a in contrast.items()), np.zeros(len(self.measured.seeds)))
        draws_RS = np.zeros_like(self._seed_weights_RS)
        for key, a in contrast.items():
            draws_RS += a * self.draws_RS[key]
        S = len(value_S)
        smoothing = sum(a * a * self._pseudo_variance(key) for key, a in contrast.items())
        var_items = float(draws_RS.mean(axis=1).var()) + smoothing
        var_seeds = 0.0
        if training and S > 1:
            var_total = float((draws_RS * self._seed_weights_RS).sum(axis=1).var()) + smoothing
            var_seeds = float(value_S.var(ddof=1)) / S
            # The item-seed interaction (a seed's luck on an item) is counted with the items, so nothing is lost.
            var_items = max(var_items, var_total - var_seeds)
        tasks = {task for _, task, _ in contrast}
        return Estimate(
            value=float(value_S.mean()),
            se=float(np.sqrt(var_items + var_seeds)),
            var_items=var_items,
            var_seeds=var_seeds,
            items=sum(len(self.measured.items[task]) for task in tasks),
            seeds=S,
            tasks=len(tasks),
        )

    def _pseudo_variance(self, key: CellKey) -> float:
        """Return the variance of two further items at probability 1/2, k samples each (after Agresti and Min).

        Without it, rows that agree on every item would have a zero-width interval.
        """
        _, task, metric = key
        if not is_fraction(metric):
            return 0.0
        weights_SN = self.measured.values[key].weights_SN
        items = float(len(self.measured.items[task]))
        if weights_SN is not None:  # effective number of weighted items
            items = float((weights_SN.sum(axis=1) ** 2 / (weights_SN**2).sum(axis=1)).min())
        return 0.5 / self.measured.samples_per_value(metric) / (items + 2) ** 2


def _seed_weights(S: int, resamples: int, rng: np.random.Generator) -> Array:
    """Return [R, S] weights that sum to 1: resampled shares of each seed, deviations stretched by sqrt(S / (S - 1)).

    With three seeds, the plain bootstrap would show only two thirds of the variance between seeds.
    """
    even = np.full((resamples, S), 1.0 / S)
    if S == 1:
        return even
    shares = rng.multinomial(S, [1.0 / S] * S, size=resamples) / S
    return even + np.sqrt(S / (S - 1)) * (shares - even)
