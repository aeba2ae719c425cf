"""From the artifacts of a study to its measured tables, one per family."""

from collections.abc import Callable
from pathlib import Path

from repro.evaluation.evaluate import failures_per_item, metric_names, metric_per_item, tokens_per_item
from repro.evaluation.graded import read_outcomes
from repro.recipes.study import Measures, Row, Study
from repro.stages import Classify, Continue, Diagnose, Evaluate
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.costs import add_costs
from repro.tables.measurements.figures import add_failures, add_gains, add_prefixes
from repro.tables.measurements.traps import add_blocks, add_prompts

TOKENS = "tokens"
"""Metric: mean length of an item's completions, tokens."""

FURTHER: dict[Measures, Callable[[MeasuredTable, dict[str, list[Row]], Path], None]] = {
    "cost": add_costs,
    "gains": add_gains,
    "prefixes": add_prefixes,
    "failures": add_failures,
}
"""Studies whose rows are read in their own way; the others' are answers and diagnoses."""


def measure(study: Study, cache: Path) -> list[MeasuredTable]:
    """Per-item values of every row, task and metric that the study measures."""
    tables = []
    for family in study.families:
        table = MeasuredTable(study.name, study.scale, family, study.seeds, samples=_samples(study))
        if study.measures in FURTHER:
            FURTHER[study.measures](table, _by_method(study, family), cache)
            tables.append(table)
            continue
        answered: dict[tuple[str, ...], list[Row]] = {}
        diagnosed: dict[str, list[Row]] = {}
        for row in sorted((r for r in study.rows if r.family == family), key=lambda r: r.seed):
            if isinstance(row.stage, Diagnose):
                diagnosed.setdefault(row.method, []).append(row)
            elif isinstance(row.stage, Evaluate):
                # a row may stand for a model per task: then each has its own stage
                answered.setdefault((row.method, *(one.task for one in row.stage.data)), []).append(row)
        for rows in answered.values():
            _add_evaluations(table, rows, set(study.tasks), cache, lengths=study.measures == "knob")
        (add_blocks if study.measures == "contributions" else add_prompts)(table, diagnosed, cache)
        tables.append(table)
    return tables


def _by_method(study: Study, family: str) -> dict[str, list[Row]]:
    """The family's rows by label, one per seed."""
    rows: dict[str, list[Row]] = {}
    for row in sorted((r for r in study.rows if r.family == family), key=lambda r: r.seed):
        rows.setdefault(row.method, []).append(row)
    return rows


def _add_evaluations(table: MeasuredTable, rows: list[Row], tasks: set[str], cache: Path, *, lengths: bool) -> None:
    """One row's metrics on the study's tasks, one entry of `rows` per seed; the failure rates beside them."""
    outcomes = [read_outcomes(cache / row.stage.folder_name / ROLLOUTS) for row in rows]
    failures = [failures_per_item(one) for one in outcomes]
    for task in failures[0]:
        if task in tasks:
            values = {metric: [metric_per_item(one, metric)[task] for one in outcomes] for metric in metric_names(task)}
            values |= {TOKENS: [tokens_per_item(one)[task] for one in outcomes]} if lengths else {}
            values |= {name: [one[task][name] for one in failures] for name in failures[0][task]}
            for metric, by_seed in values.items():
                items = sorted(by_seed[0])
                table.add(rows[0].method, task, metric, items, [[one[item] for item in items] for one in by_seed])


def _samples(study: Study) -> int:
    stage = study.rows[0].stage
    if isinstance(stage, Continue):
        return stage.prefixes.per_prompt * stage.prefixes.continuations
    drawn = stage.on_policy if isinstance(stage, Diagnose) else stage.after if isinstance(stage, Classify) else stage
    return drawn.config.completions_per_prompt
