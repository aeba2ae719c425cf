"""From the artifacts of a study to its measured tables, one per family."""

from pathlib import Path

from repro.recipes.studies import STUDIES, resolve
from repro.recipes.study import Row, Study
from repro.stages import Classify, Continue, Diagnose
from repro.tables.measured_table import MeasuredTable


def measure(study: Study, cache: Path) -> list[MeasuredTable]:
    """Measure the per-item values of every row, task and metric, by the study's own function."""
    add_cells = resolve(STUDIES[study.name].measure)
    etas = tuple(sorted({row.eta for row in study.rows if row.eta is not None}))
    tables = []
    for family in study.families:
        table = MeasuredTable(study.name, study.scale, family, study.seeds, samples=_samples(study), etas=etas)
        add_cells(table, _rows_by_label(study, family), cache)
        tables.append(table)
    return tables


def _rows_by_label(study: Study, family: str) -> dict[str, list[Row]]:
    """Return the family's rows by label, seeds in ascending order."""
    rows: dict[str, list[Row]] = {}
    for row in sorted((r for r in study.rows if r.family == family), key=lambda r: r.seed):
        rows.setdefault(row.method, []).append(row)
    return rows


def _samples(study: Study) -> int:
    stage = study.rows[0].stage
    if isinstance(stage, Continue):
        return stage.prefixes.per_prompt * stage.prefixes.continuations
    sampled = stage.on_policy if isinstance(stage, Diagnose) else stage.after if isinstance(stage, Classify) else stage
    return sampled.config.completions_per_prompt
