"""Figure 1a from its evaluations: every teacher's and student's accuracy, and the students' gains."""

from collections.abc import Mapping
from pathlib import Path

from repro.evaluation.evaluate import metric_per_item
from repro.evaluation.graded import read_outcomes
from repro.recipes.study import Row
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples
from repro.tasks import registry

SHORTFALL = "shortfall"
LOSS = "loss_under_better_teacher"


def add_gains(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add every teacher, every student, and each student's gain.

    For published (uncalibrated) teachers: the loss under a teacher more accurate than the student and, for each pair of
    teachers, the shortfall of the more accurate one's student. "More accurate" means beyond chance (95 % interval of
    the difference); otherwise there is no such cell. Cells that need an unmeasured row are skipped.
    """
    student_of = {teacher: label for label, rows in rows_of.items() if (teacher := rows[0].of) in rows_of}
    untouched = [label for label in student_of if not any(rows_of[label][0].stage.inputs())]
    metric_of = {
        data.task: "reward" if registry.kind_of(data.task) == "open" else "acc"
        for data in next(iter(rows_of.values()))[0].stage.data
    }
    values: dict[str, dict[str, list[dict[str, float]]]] = {task: {} for task in metric_of}
    for label, rows in rows_of.items():
        outcomes = [read_outcomes(cache / row.stage.folder_name / ROLLOUTS) for row in rows]
        measured = {
            metric: [metric_per_item(seed, metric) for seed in outcomes] for metric in dict.fromkeys(metric_of.values())
        }
        for task, metric in metric_of.items():
            values[task][label] = [seed[task] for seed in measured[metric]]
            table.add_by_item(label, task, metric, values[task][label])
    for task, metric in metric_of.items() if "Student" in rows_of else ():
        _add_gains_on(table, task, metric, values[task], student_of, untouched)


def _add_gains_on(
    table: MeasuredTable,
    task: str,
    metric: str,
    values: Mapping[str, list[dict[str, float]]],
    student_of: Mapping[str, str],
    untouched: list[str],
) -> None:
    draws = Resamples(table, [(label, task, metric) for label in (*untouched, "Student")])

    def difference(label: str, baseline: str) -> list[dict[str, float]]:
        return [{item: a[item] - b[item] for item in a} for a, b in zip(values[label], values[baseline])]

    def is_better(label: str, rival: str) -> bool:
        gap = draws.estimate({(label, task, metric): 1.0, (rival, task, metric): -1.0}, training=False)
        return interval(gap, 0.05)[0] > 0

    for student in student_of.values():
        table.add_by_item(student, task, "gain", difference(student, "Student"))
    for teacher in untouched:
        student = student_of[teacher]
        if is_better(teacher, "Student"):
            table.add_by_item(student, task, LOSS, difference("Student", student))
        for rival in untouched:
            if rival != teacher and is_better(teacher, rival):
                shortfall = difference(student_of[rival], student)
                table.add_by_item(f"{teacher} over {rival}", task, SHORTFALL, shortfall)
