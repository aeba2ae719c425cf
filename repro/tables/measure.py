"""From the artifacts of a study to its measured tables, one per family."""

from pathlib import Path

from repro.evaluation.evaluate import failures_per_item, metrics_of, per_item, read_graded
from repro.pipeline.bodies import ROLLOUTS
from repro.recipes.study import Study
from repro.tables.measured import MeasuredTable


def measure(study: Study, cache: Path) -> list[MeasuredTable]:
    """Per-item values of every row, task and metric, with the failure rates beside them."""
    return [_family(study, family, cache) for family in study.families]


def _family(study: Study, family: str, cache: Path) -> MeasuredTable:
    table = MeasuredTable(study.name, study.scale, family, study.seeds, samples=_samples(study))
    methods = dict.fromkeys(row.method for row in study.rows if row.family == family)
    for method in methods:
        rows = sorted((r for r in study.rows if (r.family, r.method) == (family, method)), key=lambda r: r.seed)
        graded = [read_graded(cache / row.stage.folder_name / ROLLOUTS) for row in rows]
        failures = [failures_per_item(one) for one in graded]
        for task in study.tasks:
            values = {metric: [per_item(one, metric)[task] for one in graded] for metric in metrics_of(task)}
            values |= {name: [one[task][name] for one in failures] for name in failures[0][task]}
            for metric, by_seed in values.items():
                items = sorted(by_seed[0])
                table.add(method, task, metric, items, [[one[item] for item in items] for one in by_seed])
    return table


def _samples(study: Study) -> int:
    return study.rows[0].stage.config.completions_per_prompt
