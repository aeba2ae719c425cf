"""Turn the artifacts of diagnoses into cells: one value and weight per prompt, or per block of prompts."""

from pathlib import Path

import pyarrow.parquet as pq

from repro.diagnosis.files import PER_BLOCK, PER_PROMPT
from repro.recipes.study import Row
from repro.tables.measured_table import MeasuredTable

Cells = dict[tuple[str, str], tuple[dict[str, float], dict[str, float]]]
"""(task, metric) -> values and weights by item."""


def add_prompts(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add Tables 1 and 4: a row per teacher, every measure of `repro.diagnosis.per_prompt`."""
    for label, rows in rows_of.items():
        _add_cells(table, label, [_read(cache / row.stage.folder_name / PER_PROMPT) for row in rows])


def add_blocks(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add Figure 2: a row per K ("K=1" .. "K=V"), for a further teacher "K=1, teacher" and so on; items are blocks."""
    for number, (label, rows) in enumerate(rows_of.items()):
        seeds = [_read(cache / row.stage.folder_name / PER_BLOCK) for row in rows]
        for name in dict.fromkeys(metric for _, metric in seeds[0]):
            cells_of_k: list[Cells] = [
                {(task, "frequency_correlation"): cell for (task, metric), cell in cells.items() if metric == name}
                for cells in seeds
            ]
            _add_cells(table, name if number == 0 else f"{name}, {label}", cells_of_k)


def _add_cells(table: MeasuredTable, row: str, seeds: list[Cells]) -> None:
    """Add every cell that all seeds have: a seed lacks one without a finite value or without any pair."""
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
