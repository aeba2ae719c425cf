"""Paired differences between two measured tables of one study: the same cell on their shared items."""

from dataclasses import dataclass, replace

import numpy as np

from repro.tables.measured_table import CellKey, CellValues, MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples

_LEVEL = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """One cell compared between two tables.

    Attributes:
        first, second: the mean over all of each table's items and seeds, in the metric's unit; None if not measured.
        difference: second - first on the shared items; None with fewer than two of them.
        interval: 95 %, from the two-level bootstrap; items are paired, and so are seeds if both tables have the same.
        items: number of shared items.
    """

    row: str
    task: str
    metric: str
    first: float | None
    second: float | None
    difference: float | None
    interval: tuple[float, float] | None
    items: int


def paired_differences(
    first: MeasuredTable, second: MeasuredTable, *, resamples: int = 2_000, seed: int = 0
) -> list[PairedDifference]:
    """Return every cell of either table, in the first one's order.

    If the seeds differ, each table is first averaged over its own, so the interval excludes the spread between training
    runs.
    """
    keys = list(dict.fromkeys([*first.values, *second.values]))
    means = [{key: table.mean(*key) for key in table.values} for table in (first, second)]
    if first.seeds != second.seeds:
        first, second = _average_seeds(first), _average_seeds(second)
    joined = MeasuredTable(first.study, first.scale, first.family, first.seeds, min(first.samples, second.samples))
    shared = {task: tuple(sorted({*ids} & {*second.items.get(task, ())})) for task, ids in first.items.items()}
    comparable = set()
    for key in keys:
        cells = [_select(table, key, shared.get(key[1], ())) for table in (first, second)]
        if all(cell is not None for cell in cells):
            comparable.add(key)
            for side, cell in zip(_SIDES, cells):
                assert cell is not None
                joined.add(*_of(key, side), shared[key[1]], cell.values_SN, cell.weights_SN)
    draws = Resamples(joined, joined.values, resamples, seed)
    differences = []
    for key in keys:
        difference = ends = None
        if key in comparable:
            estimate = draws.estimate({_of(key, _SIDES[1]): 1.0, _of(key, _SIDES[0]): -1.0})
            difference, ends = estimate.value, interval(estimate, _LEVEL)
        a, b = (of_table.get(key) for of_table in means)
        items = len(shared.get(key[1], ()))
        differences.append(PairedDifference(*key, a, b, difference, ends, items))
    return differences


def repeat_for_seeds(table: MeasuredTable, seeds: tuple[int, ...]) -> MeasuredTable:
    """Repeat a one-seed table for these seeds: its rows were not trained, so they are the same under each."""
    repeated = replace(table, seeds=seeds, items=dict(table.items), values={})
    for (row, task, metric), cell in table.values.items():
        repeated.add(row, task, metric, table.items[task], cell.values_SN, cell.weights_SN)
    return repeated


_SIDES = ("first", "second")


def _of(key: CellKey, side: str) -> CellKey:
    row, task, metric = key
    return f"{side}: {row}", task, metric


def _select(table: MeasuredTable, key: CellKey, ids: tuple[str, ...]) -> CellValues | None:
    """Return a cell's values on these items, or None if it has no mean there."""
    if not table.has(*key) or len(ids) < 2:
        return None
    position = {item: n for n, item in enumerate(table.items[key[1]])}
    columns = [position[item] for item in ids]
    cell = table.values[key]
    weights_SN = None if cell.weights_SN is None else cell.weights_SN[:, columns]
    if weights_SN is not None and (weights_SN.sum(axis=1) <= 0).any():
        return None
    return CellValues(cell.values_SN[:, columns], weights_SN)


def _average_seeds(table: MeasuredTable) -> MeasuredTable:
    """Return a one-seed table with each item's mean over all seeds.

    Each seed's weights are normalised to sum to 1, so that seeds weigh the same and every cell keeps its mean.
    """
    averaged = MeasuredTable(table.study, table.scale, table.family, (0,), table.samples, dict(table.items))
    for key, cell in table.values.items():
        if cell.weights_SN is None:
            averaged.values[key] = CellValues(cell.values_SN.mean(axis=0, keepdims=True))
            continue
        shares_SN = cell.weights_SN / cell.weights_SN.sum(axis=1, keepdims=True)
        weights_1N = shares_SN.sum(axis=0, keepdims=True)
        sums_1N = (cell.values_SN * shares_SN).sum(axis=0, keepdims=True)
        values_1N = np.divide(sums_1N, weights_1N, out=np.zeros_like(sums_1N), where=weights_1N > 0)
        averaged.values[key] = CellValues(values_1N, weights_1N)
    return averaged
