"""Table 4, and whether changes in its traps correlate with student outcomes (section 6.4).

A point is a calibrated teacher on a task printed in Table 4: the relative change of its trap against the original
teacher, and of its student's accuracy against the original teacher's student. The correlation over points is Pearson's;
its items are pooled over all tasks through influence values: each item is left out of its task in turn.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from repro.diagnosis.influence import influence_values
from repro.evaluation.evaluate import metric_per_item
from repro.evaluation.graded import read_outcomes
from repro.printed.load import load
from repro.recipes.study import Row
from repro.recipes.table1_and_4 import STUDENT_OF
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import Array, MeasuredTable
from repro.tables.measurements.traps import add_prompts

CALIBRATED = "Calibrated"
ALL_TASKS = "all tasks"
TRAPS = ("token_rkl", "wrong_trace")
_FEWEST_POINTS = 4

Sums = tuple[Array, Array]
"""(value * weight, weight) per item of one cell."""


def add_traps_and_outcomes(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add a row per teacher, plus one for the correlation of each trap's changes with the students'."""
    add_prompts(table, {label: rows for label, rows in rows_of.items() if rows[0].stage.kind == "diagnose"}, cache)
    if not set(STUDENT_OF.values()) <= set(rows_of):
        return
    accuracies = {
        teacher: [
            metric_per_item(read_outcomes(cache / row.stage.folder_name / ROLLOUTS), "acc") for row in rows_of[student]
        ]
        for teacher, student in STUDENT_OF.items()
    }
    stored = load("table4")
    printed = {cell.column for cell in stored.cells}
    tasks = [task for task in table.tasks if stored.column_of(task) in printed]
    for trap in TRAPS:
        usable = [task for task in tasks if all(table.has(teacher, task, trap) for teacher in STUDENT_OF)]
        if len(usable) * (len(STUDENT_OF) - 1) < _FEWEST_POINTS:
            continue
        items = [f"{task}/{item}" for task in usable for item in table.items[task]]
        values = [
            _influence(
                {
                    (teacher, task): _trap_sums(table, teacher, task, trap, n)
                    for teacher in STUDENT_OF
                    for task in usable
                },
                {
                    (teacher, task): _accuracy_sums(accuracies[teacher][n][task], table.items[task])
                    for teacher in STUDENT_OF
                    for task in usable
                },
                usable,
            )
            for n in range(len(table.seeds))
        ]
        if np.isfinite(values).all():
            table.add(CALIBRATED, ALL_TASKS, f"{trap}_outcome_correlation", items, values)


def _trap_sums(table: MeasuredTable, teacher: str, task: str, trap: str, seed: int) -> Sums:
    cell = table.values[teacher, task, trap]
    weight = np.ones_like(cell.values_SN[seed]) if cell.weights_SN is None else cell.weights_SN[seed]
    return cell.values_SN[seed] * weight, weight


def _accuracy_sums(by_item: Mapping[str, float], items: tuple[str, ...]) -> Sums:
    return np.array([by_item[item] for item in items]), np.ones(len(items))


def _influence(
    traps: Mapping[tuple[str, str], Sums], outcomes: Mapping[tuple[str, str], Sums], tasks: list[str]
) -> Array:
    """Return the correlation's influence values, items task by task; NaN where a change is undefined."""

    def mean_of(cells: Mapping[tuple[str, str], Sums]) -> Callable[[str, str], Array]:
        """Return a function to [1 + items]: a cell's mean over all items, then leaving out each item in turn."""

        def mean(teacher: str, task: str) -> Array:
            value, weight = cells[teacher, task]
            top, bottom = (np.concatenate([[x.sum()], x.sum() - x]) for x in (value, weight))
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(top / bottom)

        return mean

    changes = [{task: _changes(mean_of(cells), task) for task in tasks} for cells in (traps, outcomes)]
    everything = _correlation(*(np.concatenate([by_task[task][:, 0] for task in tasks]) for by_task in changes))
    without: list[float] = []
    for left_out in tasks:
        for n in range(1, changes[0][left_out].shape[1]):
            points = (
                np.concatenate([by_task[task][:, n if task == left_out else 0] for task in tasks])
                for by_task in changes
            )
            without.append(_correlation(*points))
    return influence_values(everything, np.array(without))


def _changes(mean: Callable[[str, str], Array], task: str) -> Array:
    """Return [calibrated teachers, 1 + items] relative changes against the original teacher."""
    original, *calibrated = STUDENT_OF
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([mean(teacher, task) / mean(original, task) - 1 for teacher in calibrated])


def _correlation(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else float("nan")
