"""Facts that only one study's page needs, stored in its results.json."""

from pathlib import Path
from typing import Any

from repro.recipes.study import Study
from repro.report.result import Extras
from repro.tables.measurements.costs import parameters_of, study_costs


def stage_costs(study: Study, cache: Path) -> Extras:
    """Collect the costs of every stage."""
    return {"costs": study_costs(study, cache)}


def teacher_sizes(study: Study, cache: Path) -> Extras:
    """Collect the number of parameters of every teacher, None if unknown."""
    sizes: dict[str, dict[str, float | None]] = {}
    teachers = {row.of for row in study.rows}
    for row in study.rows:
        if row.method in teachers:
            evaluation: Any = row.stage
            sizes.setdefault(row.family, {})[row.method] = parameters_of(evaluation.model, cache)
    return {"parameters": sizes}
