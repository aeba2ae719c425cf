"""From the artifacts of a study to its measured tables, one per family."""

from collections.abc import Callable
from pathlib import Path

from repro.evaluation.evaluate import failures_per_item, metrics_of, per_item, read_graded
from repro.pipeline.bodies import ROLLOUTS
from repro.pipeline.stages import Diagnose
from repro.recipes.study import Measures, Row, Study
from repro.tables.measure_traps import add_blocks, add_prompts
from repro.tables.measured import MeasuredTable


def measure(study: Study, cache: Path) -> list[MeasuredTable]:
    """Per-item values of every row, task and metric that the study measures."""
    add: dict[Measures, Callable[[MeasuredTable, dict[str, list[Row]], Path], None]] = {
        "evaluation": _add_evaluations,
        "traps": add_prompts,
        "contributions": add_blocks,
    }
    tables = []
    for family in study.families:
        table = MeasuredTable(study.name, study.scale, family, study.seeds, samples=_samples(study))
        rows: dict[str, list[Row]] = {}
        for row in sorted((r for r in study.rows if r.family == family), key=lambda r: r.seed):
            rows.setdefault(row.method, []).append(row)
        add[study.measures](table, rows, cache)
        tables.append(table)
    return tables


def _add_evaluations(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Metrics, with the failure rates beside them."""
    for method, rows in rows_of.items():
        graded = [read_graded(cache / row.stage.folder_name / ROLLOUTS) for row in rows]
        failures = [failures_per_item(one) for one in graded]
        for task in failures[0]:
            values = {metric: [per_item(one, metric)[task] for one in graded] for metric in metrics_of(task)}
            values |= {name: [one[task][name] for one in failures] for name in failures[0][task]}
            for metric, by_seed in values.items():
                items = sorted(by_seed[0])
                table.add(method, task, metric, items, [[one[item] for item in items] for one in by_seed])


def _samples(study: Study) -> int:
    stage = study.rows[0].stage
    return (stage.on_policy if isinstance(stage, Diagnose) else stage).config.completions_per_prompt
