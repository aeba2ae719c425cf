"""From the artifacts of diagnoses to measured tables: one value and weight per prompt, or per block of prompts."""

from pathlib import Path

import pyarrow.parquet as pq

from repro.diagnosis.files import PER_BLOCK, PER_PROMPT
from repro.recipes.study import Row
from repro.tables.measured_table import MeasuredTable

Cells = dict[tuple[str, str], dict[str, tuple[float, float]]]
"""(task, metric) -> item -> (value, weight)."""


def add_prompts(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Tables 1 and 4: a row per teacher, every measure of `repro.diagnosis.per_prompt`."""
    for label, rows in rows_of.items():
        _add(table, label, [_read(cache / row.stage.folder_name / PER_PROMPT) for row in rows])


def add_blocks(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Figure 2: a row per K ("K=1" .. "K=V"), for a further teacher "K=1, teacher" and so on; items are blocks."""
    for number, (label, rows) in enumerate(rows_of.items()):
        seeds = [_read(cache / row.stage.folder_name / PER_BLOCK) for row in rows]
        for name in dict.fromkeys(metric for _, metric in seeds[0]):
            one = [{(t, "frequency_correlation"): v for (t, m), v in cells.items() if m == name} for cells in seeds]
            _add(table, name if number == 0 else f"{name}, {label}", one)


def _add(table: MeasuredTable, row: str, seeds: list[Cells]) -> None:
    """Every cell that all seeds have: one without a finite value or without any pair is missing where it is."""
    for task, metric in seeds[0]:
        if all((task, metric) in cells for cells in seeds):
            items = sorted(seeds[0][task, metric])
            values = [[cells[task, metric][item][0] for item in items] for cells in seeds]
            weights = [[cells[task, metric][item][1] for item in items] for cells in seeds]
            plain = all(weight == weights[0][0] for own in weights for weight in own)
            table.add(row, task, metric, items, values, None if plain else weights)


def _read(path: Path) -> Cells:
    cells: Cells = {}
    for one in pq.read_table(path).to_pylist():
        cells.setdefault((one["task"], one["metric"]), {})[one["item"]] = (one["value"], one["weight"])
    return cells
