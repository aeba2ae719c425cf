"""Turn the artifacts of a study into its measured tables, one per family."""

from pathlib import Path

from repro.recipes.studies import STUDIES, resolve
from repro.recipes.study import Row, Study
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.idle import idle_rows
from repro.tasks import registry


def measure(study: Study, cache: Path) -> list[MeasuredTable]:
    """Measure per-item values for every row, task and metric, using the study's own function."""
    add_cells = resolve(STUDIES[study.name].measure)
    etas = tuple(sorted({row.eta for row in study.rows if row.eta is not None}))
    samples = study.rows[0].stage.samples_per_prompt
    tables = []
    for family in study.families:
        chance = {task: registry.chance(task) for task in study.tasks}
        table = MeasuredTable(study.name, study.scale, family, study.seeds, samples, etas=etas, chance=chance)
        rows_of = _rows_by_label(study, family)
        add_cells(table, rows_of, cache)
        table.idle = idle_rows(rows_of, study.seeds, cache)
        tables.append(table)
    return tables


def _rows_by_label(study: Study, family: str) -> dict[str, list[Row]]:
    """Return the family's rows by label, seeds in ascending order."""
    rows: dict[str, list[Row]] = {}
    for row in sorted((r for r in study.rows if r.family == family), key=lambda r: r.seed):
        rows.setdefault(row.method, []).append(row)
    return rows
