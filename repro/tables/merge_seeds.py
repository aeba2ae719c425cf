"""Join the measured tables of several training seeds."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from repro.errors import InputError
from repro.tables.measured_table import MeasuredTable
from repro.tables.row_facts import join_idle


def merge_seeds(tables: Iterable[MeasuredTable]) -> MeasuredTable:
    """Join runs with different seeds of one study, scale and family into one table.

    Raises:
        InputError: nothing to merge, or tables that differ in study, scale, family, items, samples or rows.
    """
    parts = list(tables)
    if not parts:
        raise InputError("there are no results to merge.")
    first, *rest = parts
    for part in rest:
        for name in ("study", "scale", "family", "samples", "items"):
            if getattr(first, name) != getattr(part, name):
                values = "" if name == "items" else f" ({getattr(first, name)} and {getattr(part, name)})"
                raise InputError(
                    f"results do not merge: {name} differs{values}. Report them separately, or run one again with the other's settings."
                )
        if set(first.values) != set(part.values):
            row, task, metric = sorted(set(first.values) ^ set(part.values))[0]
            raise InputError(
                f"results do not merge: row {row!r}, task {task!r}, metric {metric!r} is in one and not in another."
            )
    seeds = tuple(seed for part in parts for seed in part.seeds)
    idle = join_idle([(part.idle, len(part.seeds)) for part in parts])
    merged = replace(first, seeds=seeds, items={}, values={}, idle=idle)
    for row, task, metric in first.values:
        cells = [part.values[row, task, metric] for part in parts]
        values_SN = np.concatenate([cell.values_SN for cell in cells])
        weights_SN = None
        if any(cell.weights_SN is not None for cell in cells):  # a run with equal item weights stores no weights
            weights_SN = np.concatenate(
                [np.ones_like(cell.values_SN) if cell.weights_SN is None else cell.weights_SN for cell in cells]
            )
        merged.add(row, task, metric, first.items[task], values_SN, weights_SN)
    return merged
