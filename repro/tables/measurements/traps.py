"""Turn diagnosis artifacts into cells: one value and weight per prompt, or per block of prompts."""

from pathlib import Path

import pyarrow.parquet as pq

from repro.diagnosis.files import PER_BLOCK, PER_PROMPT, TAIL, TAIL_SHARE
from repro.recipes.study import Row
from repro.tables.measured_table import MeasuredTable

Cells = dict[tuple[str, str], tuple[dict[str, float], dict[str, float]]]
"""(task, metric) -> values and weights by item."""


def add_prompts(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add Tables 1 and 4: a row per teacher, every measure of `repro.diagnosis.per_prompt`."""
    for label, rows in rows_of.items():
        _add_cells(table, label, [_read(cache / row.stage.folder_name / PER_PROMPT) for row in rows])


def add_blocks(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add Figure 2: a row per curve ("K=1" .. "K=V", "beyond K=1" .., "tail"), for a further teacher "K=1, teacher" and so on.

    Items are blocks. Metrics: rank correlation with frequency and, for "tail", its share of the KL.
    """
    for number, (label, rows) in enumerate(rows_of.items()):
        seeds = [_read(cache / row.stage.folder_name / PER_BLOCK) for row in rows]
        for name in dict.fromkeys(metric for _, metric in seeds[0]):
            curve, metric_of_curve = (TAIL, TAIL_SHARE) if name == TAIL_SHARE else (name, "frequency_correlation")
            cells_of_curve: list[Cells] = [
                {(task, metric_of_curve): cell for (task, metric), cell in cells.items() if metric == name}
                for cells in seeds
            ]
            _add_cells(table, curve if number == 0 else f"{curve}, {label}", cells_of_curve)


def _add_cells(table: MeasuredTable, row: str, seeds: list[Cells]) -> None:
    """Add every cell that all seeds have; a seed lacks a cell without a finite value or any pair."""
    for task, metric in seeds[0]:
        if all((task, metric) in cells for cells in seeds):
            values, weights = zip(*(cells[task, metric] for cells in seeds))
            is_plain = len({weight for by_item in weights for weight in by_item.values()}) == 1
            table.add_by_item(row, task, metric, values, None if is_plain else weights)


def _read(path: Path) -> Cells:
    cells: Cells = {}
    for row in pq.read_table(path).to_pylist():
        values, weights = cells.setdefault((row["task"], row["metric"]), ({}, {}))
        values[row["item"]], weights[row["item"]] = row["value"], row["weight"]
    return cells
