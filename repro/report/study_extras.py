"""Facts that only one study's page needs, for results.json."""

from pathlib import Path

from repro.recipes.study import Study
from repro.report.result import Extras
from repro.stages import Evaluate
from repro.tables.measurements.costs import parameters_of, study_costs


def collect_extras(study: Study, cache: Path) -> Extras:
    """Collect costs of every stage for Table 5, teachers' parameters (None: unknown) for Figure 1a."""
    if study.name == "table5":
        return {"costs": study_costs(study, cache)}
    if study.name == "figure1a":
        sizes: dict[str, dict[str, float | None]] = {}
        teachers = {row.of for row in study.rows}
        for row in study.rows:
            if row.method in teachers and isinstance(row.stage, Evaluate):
                sizes.setdefault(row.family, {})[row.method] = parameters_of(row.stage.model, cache)
        return {"parameters": sizes}
    return {}
