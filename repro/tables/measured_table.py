"""Measured tables: a run's per-item values for every row, paired across rows; the link between stages and verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from repro.errors import InputError
from repro.recipes.labels import at_eta
from repro.recipes.studies import SCALES, Scale
from repro.tables.row_facts import Idle, describe_idleness, idle_under, read_chance, read_idle

CellKey = tuple[str, str, str]  # row, task, metric
ByItem = Mapping[str, float]  # item id -> value
Array = NDArray[np.float64]

# Metrics that average an item's k samples; the others derive one value from all k (a majority, "any").
SAMPLE_MEANS = frozenset({"acc", "reward"})
# Metrics with per-item values that are shares or scores in 0..1; any other metric may take any finite value.
FRACTION_METRICS = frozenset(
    {
        "acc",
        "reward",
        "wrong_trace",
        "unanswered_trace",
        "unanswered_share",
        "unparsed",
        "truncated",
        "repeating",
        "empty",
    }
    | {"prefix_correct", "solved", "lost", "hallucination", "self_correction", "degradation"}
    | {"rechecking", "uncommitted", "repetition_recovery"}
)

NON_NEGATIVE_METRICS = frozenset({"core_hours", "gpu_hours", "tokens", "entropy_student", "entropy_teacher"})


def is_fraction(metric: str) -> bool:
    """Return True for a metric whose per-item values are shares or scores in 0..1, majK and passK of K samples included."""
    return metric in FRACTION_METRICS or metric.rstrip("0123456789") in ("maj", "pass")


def range_of(metric: str) -> tuple[float, float]:
    """Return the bounds of a metric's mean: 0 and 1 for a share, -1 and 1 for a correlation, 0 for a count."""
    if is_fraction(metric):
        return 0.0, 1.0
    if metric.endswith("_correlation"):
        return -1.0, 1.0
    return (0.0 if metric in NON_NEGATIVE_METRICS else -np.inf), np.inf


@dataclass(frozen=True)
class CellValues:
    """Per-item values of one row, task and metric.

    Shapes: S training seeds, N items.

    Attributes:
        values_SN: one value per item and seed. acc: mean over its samples; maj16: expected correctness of the
            majority; pass16: any right; reward: mean score.
        weights_SN: None for a plain mean over items; else the cell is sum(weight * value) / sum(weight), as
            for a KL per token (weight: the item's tokens) or a pooled wrong-trace rate (weight: its pairs).
    """

    values_SN: Array  # noqa: N815
    weights_SN: Array | None = None  # noqa: N815

    def means_S(self) -> Array:  # noqa: N802
        """Return the cell's value for each seed."""
        if self.weights_SN is None:
            return cast(Array, self.values_SN.mean(axis=1))
        return cast(Array, (self.values_SN * self.weights_SN).sum(axis=1) / self.weights_SN.sum(axis=1))


@dataclass
class MeasuredTable:
    """One family's measured rows of one study.

    Attributes:
        seeds: the training seeds, in the order of the first axis of every array.
        samples: completions per item (k).
        items: task -> item ids; every row of a task has these items in this order.
        values: (row, task, metric) -> values. A row is named by its label in the stored table (Table 2: the method).
        etas: the sweep's values of eta, ascending; empty for other studies.
        chance: task -> the score of guessing; 0 for a task that is not here.
        idle: rows that rest on a calibrated teacher that has not moved (repro.calibration.idle): they decide nothing.
    """

    study: str
    scale: Scale
    family: str
    seeds: tuple[int, ...]
    samples: int = 16
    items: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: dict[CellKey, CellValues] = field(default_factory=dict)
    etas: tuple[float, ...] = ()
    chance: dict[str, float] = field(default_factory=dict)
    idle: Idle = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"result of {self.study}: scale {self.scale!r} is none of {', '.join(SCALES)}.")
        self.seeds = tuple(self.seeds)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"result of {self.study}: seeds {self.seeds} must be distinct, and at least one.")
        if self.samples < 1:
            raise InputError(f"result of {self.study}: samples per item is {self.samples}, at least 1 is needed.")

    def add(
        self, row: str, task: str, metric: str, item_ids: Sequence[str], values_SN: Any, weights_SN: Any = None
    ) -> None:
        """Add one cell: values [S, N], or [1, N] where one evaluation stands for all seeds.

        Raises:
            InputError: item ids differ from the task's in number or order, a value is not finite or not in 0..1 for a
                share, or the shape is not [seeds, items].
        """
        name = f"result of {self.study}, {self.family}: row {row!r}, task {task!r}, metric {metric!r}"
        ids = tuple(item_ids)
        if len(ids) < 2 or len(set(ids)) != len(ids):
            raise InputError(f"{name}: item ids must be distinct, and at least two: one item has no spread.")
        known = self.items.setdefault(task, ids)
        if ids != known:
            raise InputError(
                f"{name}: {_first_difference(ids, known)}; rows are paired by item, so they need the same "
                "items in the same order."
            )
        if (row, task, metric) in self.values:
            raise InputError(f"{name}: added twice.")
        weights = None
        if weights_SN is not None:
            weights = self._array(f"{name} (weights)", weights_SN, ids, low=0.0, high=np.inf)
            if (weights.sum(axis=1) <= 0).any():
                raise InputError(f"{name}: the weights of one seed sum to 0, so its mean is undefined.")
        low, high = (0.0, 1.0) if is_fraction(metric) else (-np.inf, np.inf)
        values = self._array(name, values_SN, ids, low, high)
        self.values[row, task, metric] = CellValues(values, weights)

    def add_by_item(
        self, row: str, task: str, metric: str, values: Sequence[ByItem], weights: Sequence[ByItem] | None = None
    ) -> None:
        """Add one cell from item -> value per seed (and item -> weight), items sorted."""
        items = sorted(values[0])
        values_SN = [[seed[item] for item in items] for seed in values]
        weights_SN = None if weights is None else [[seed[item] for item in items] for seed in weights]
        self.add(row, task, metric, items, values_SN, weights_SN)

    def _array(self, name: str, raw: Any, ids: tuple[str, ...], low: float, high: float) -> Array:
        try:
            array = np.array(raw, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name}: values are not an array of numbers.") from None
        if array.ndim != 2 or array.shape[0] not in (1, len(self.seeds)) or array.shape[1] != len(ids):
            raise InputError(f"{name}: shape {array.shape}, expected [{len(self.seeds)} seeds, {len(ids)} items].")
        bad = ~np.isfinite(array) | (array < low) | (array > high)
        if bad.any():
            s, n = np.argwhere(bad)[0]
            above = " of 0 or more" if low == 0 else ""
            limits = f"a finite number{above}" if np.isinf(high) else "a number from 0 to 1"
            raise InputError(f"{name}: item {ids[n]!r} of seed {self.seeds[s]} is {array[s, n]}, expected {limits}.")
        return np.ascontiguousarray(np.broadcast_to(array, (len(self.seeds), len(ids))))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.items)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row for row, _, _ in self.values))

    def rows_along_eta(self, name: str) -> list[tuple[float, str]]:
        """Return (eta, row) for every eta at which a row of that name was run, eta ascending."""
        rows = set(self.rows)
        return [(eta, label) for eta in sorted(self.etas) if (label := at_eta(name, eta)) in rows]

    def has(self, row: str, task: str, metric: str) -> bool:
        return (row, task, metric) in self.values

    def shared_metrics(self, rows: Sequence[str], metrics: Sequence[str]) -> list[tuple[str, str]]:
        """Return (task, metric) for every task on which all rows have one of the metrics: the first such metric."""
        shared = []
        for task in self.tasks:
            metric = next((m for m in metrics if all(self.has(row, task, m) for row in rows)), None)
            if metric is not None:
                shared.append((task, metric))
        return shared

    def mean(self, row: str, task: str, metric: str) -> float:
        """Return the cell's value: the mean over seeds."""
        return float(self.values[row, task, metric].means_S().mean())

    def idleness(self, row: str, task: str) -> str | None:
        """Say why a row decides nothing on a task: its teacher has not moved under some seed. None if it always has."""
        return describe_idleness(self.idle.get(row, {}).get(task, ()), self.seeds)

    def samples_per_value(self, metric: str) -> int:
        """Return how many samples one item's value averages: k for a sample mean, 1 for a single value."""
        return self.samples if metric in SAMPLE_MEANS else 1

    def only_seed(self, index: int) -> "MeasuredTable":
        """Return the table as a run with only that seed would give it."""
        rows = slice(index, index + 1)
        values = {
            key: CellValues(v.values_SN[rows], None if v.weights_SN is None else v.weights_SN[rows])
            for key, v in self.values.items()
        }
        return replace(
            self, seeds=(self.seeds[index],), items=dict(self.items), values=values, idle=idle_under(self.idle, index)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` reads it back to the same numbers."""
        return {
            "study": self.study,
            "scale": self.scale,
            "family": self.family,
            "seeds": list(self.seeds),
            "samples": self.samples,
            "items": {task: list(ids) for task, ids in self.items.items()},
            "chance": dict(self.chance),
            **({"idle": self.idle} if self.idle else {}),
            "cells": [
                {
                    "row": row,
                    "task": task,
                    "metric": metric,
                    "values": v.values_SN.tolist(),
                    **({} if v.weights_SN is None else {"weights": v.weights_SN.tolist()}),
                }
                for (row, task, metric), v in self.values.items()
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], etas: tuple[float, ...] = ()) -> "MeasuredTable":
        """Read the result of `to_dict`, with every check of `add`."""
        try:
            table = cls(
                study=content["study"],
                scale=content["scale"],
                family=content["family"],
                seeds=tuple(content["seeds"]),
                samples=content["samples"],
                etas=etas,
                chance=read_chance(content.get("chance", {})),
                idle=read_idle(content.get("idle", {}), len(content["seeds"])),
            )
            for cell in content["cells"]:
                ids = content["items"][cell["task"]]
                table.add(cell["row"], cell["task"], cell["metric"], ids, cell["values"], cell.get("weights"))
        except (KeyError, TypeError) as cause:
            raise InputError(f"result: not a measured table, {type(cause).__name__} at {cause}.") from None
        return table


def _first_difference(ids: tuple[str, ...], known: tuple[str, ...]) -> str:
    if len(ids) != len(known):
        return f"{len(ids)} items, other rows have {len(known)}"
    n = next(n for n, (a, b) in enumerate(zip(ids, known, strict=True)) if a != b)
    return f"item {n} is {ids[n]!r}, other rows have {known[n]!r}"
