"""Turn graded completions into cells: accuracy and related metrics, failure rates, and lengths in the eta sweep."""

from itertools import chain
from pathlib import Path

from repro.evaluation.evaluate import failures_per_item, metric_names, metric_per_item, tokens_per_item
from repro.evaluation.graded import read_outcomes
from repro.recipes.study import Row
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.traps import add_prompts

TOKENS = "tokens"
"""Metric: mean length of an item's completions, tokens."""


def add_answers(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path, *, lengths: bool = False) -> None:
    """Add every row's metrics and failure rates, on the tasks common to all rows.

    A row may represent one model per task, each with its own stage.
    """
    shared = set.intersection(*({d.task for row in rows for d in row.stage.data} for rows in rows_of.values()))
    for rows in rows_of.values():
        by_tasks: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            by_tasks.setdefault(tuple(d.task for d in row.stage.data), []).append(row)
        for seeds in by_tasks.values():
            _add_evaluations(table, seeds, shared, cache, lengths=lengths)


def add_eta_sweep(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add answers with their lengths, and the traps of every eta."""
    traps = {label: rows for label, rows in rows_of.items() if rows[0].stage.procedure == "diagnose"}
    answers = {label: rows for label, rows in rows_of.items() if label not in traps}
    add_answers(table, answers, cache, lengths=True)
    add_prompts(table, traps, cache)


def _add_evaluations(table: MeasuredTable, rows: list[Row], tasks: set[str], cache: Path, *, lengths: bool) -> None:
    """Add one row's metrics on these tasks; `rows` has one entry per seed."""
    outcomes = [read_outcomes(cache / row.stage.folder_name / ROLLOUTS) for row in rows]
    failures = [failures_per_item(seed) for seed in outcomes]
    names = {task: metric_names(task, rows[0].stage.samples_per_prompt) for task in failures[0] if task in tasks}
    measured = {
        metric: [metric_per_item(seed, metric) for seed in outcomes]
        for metric in dict.fromkeys(chain.from_iterable(names.values()))
    }
    tokens = [tokens_per_item(seed) for seed in outcomes] if lengths else []
    for task, metrics in names.items():
        values = {metric: [seed[task] for seed in measured[metric]] for metric in metrics}
        values |= {TOKENS: [seed[task] for seed in tokens]} if lengths else {}
        values |= {name: [seed[task][name] for seed in failures] for name in failures[0][task]}
        for metric, by_seed in values.items():
            table.add_by_item(rows[0].method, task, metric, by_seed)
