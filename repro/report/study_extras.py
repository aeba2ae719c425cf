"""Facts that the page of one study alone needs, for results.json."""

from pathlib import Path
from typing import Any

from repro.recipes.study import Study
from repro.report.result import Extras
from repro.tables.measurements.costs import parameters_of, study_costs


def stage_costs(study: Study, cache: Path) -> Extras:
    """Collect the costs of every stage."""
    return {"costs": study_costs(study, cache)}


def teacher_sizes(study: Study, cache: Path) -> Extras:
    """Collect the parameters of every teacher, None where unknown."""
    sizes: dict[str, dict[str, float | None]] = {}
    teachers = {row.of for row in study.rows}
    for row in study.rows:
        if row.method in teachers:
            evaluation: Any = row.stage
            sizes.setdefault(row.family, {})[row.method] = parameters_of(evaluation.model, cache)
    return {"parameters": sizes}
