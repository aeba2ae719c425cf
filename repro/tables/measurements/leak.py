"""What a teacher query gives away: the gains in the study of guards and attacks, per thousand queries."""

import json
from collections.abc import Iterator
from pathlib import Path

from repro.recipes.labels import moved, teacher_under
from repro.recipes.study import Row, Study
from repro.stages import Completions, Distill, Evaluate, Grade, Guarded, Mix, Rewrite, Sample, Select
from repro.stages.references import Model
from repro.tables.guard_metrics import GAIN, GAIN_PER_1000
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.matrix import add_matrix

SUMMARY = "summary.json"


def add_leak(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add the cells of the guard-attack matrix, and each gain per thousand queries."""
    add_matrix(table, rows_of, cache)
    for label, counts in queries_by_row(rows_of, cache).items():
        for task in table.tasks:
            if table.has(label, task, GAIN):
                values_SN = table.values[label, task, GAIN].values_SN
                by_seed = [values_N * 1000 / count for values_N, count in zip(values_SN, counts, strict=True)]
                table.add(label, task, GAIN_PER_1000, table.items[task], by_seed)


def queries_by_row(rows_of: dict[str, list[Row]], cache: Path) -> dict[str, list[int]]:
    """Count each student's queries, per seed, for students with a measured distance and guarded teacher."""
    counts = {}
    for label, rows in rows_of.items():
        guard = rows[0].guard
        if guard is None or label == teacher_under(guard) or not {moved(label), teacher_under(guard)} <= rows_of.keys():
            continue
        teachers = rows_of[teacher_under(guard)]
        counts[label] = [
            count_queries(_model(row), _model(teacher), cache) for row, teacher in zip(rows, teachers, strict=True)
        ]
    return counts


def study_queries(study: Study, cache: Path) -> dict[str, dict[str, int]]:
    """Return each student's queries under the study's first seed, by family and label."""
    queries: dict[str, dict[str, int]] = {}
    for family in study.families:
        rows = [row for row in study.rows if row.family == family and row.seed == study.seeds[0]]
        by_label = {row.method: [row] for row in rows}
        queries[family] = {label: counts[0] for label, counts in queries_by_row(by_label, cache).items()}
    return queries


def count_queries(student: Model, teacher: Model, cache: Path) -> int:
    """Count the thief's queries to the teacher: completions, and its own completions that it has the teacher score.

    A completion's log-probabilities come with it and are not a separate query. Completions shared by two uses are
    sampled once. The owner's own use of the teacher to build a guard is not a query.
    """
    sampled: set[str] = set()
    scored = 0
    for training in _trainings(student):
        if training.samples is not None:
            read = [training.samples, *([training.weights.holdout] if training.weights else [])]
            sampled |= {leaf.folder_name for part in read for leaf in _sampled(part) if _is_same(leaf.model, teacher)}
        elif _is_same(training.teacher, teacher):
            scored += int(_summary(training.folder_name, cache)["steps"]) * training.config.sequences_per_step
    return scored + sum(int(_summary(folder, cache)["completions"]) for folder in sorted(sampled))


def _is_same(first: Model, second: Model) -> bool:
    """Return True for the same model; trained ones are compared by identity, which ignores settings without effect."""
    if first.folder_name is None or second.folder_name is None:
        return first == second
    return first.folder_name == second.folder_name


def _trainings(student: Model) -> Iterator[Distill]:
    """Yield a distilled student and its ancestors."""
    while isinstance(student, Distill):
        yield student
        student = student.student


def _sampled(completions: Completions) -> Iterator[Sample | Guarded]:
    """Yield the stages that sampled the completions and the votes on them."""
    if isinstance(completions, Sample | Guarded):
        yield completions
        return
    yield from _sampled(completions.completions)
    if isinstance(completions, Select) and completions.voters is not None:
        yield from _sampled(completions.voters)
    if isinstance(completions, Mix):
        yield from _sampled(completions.supplement)
    assert isinstance(completions, Select | Mix | Rewrite)


def _model(row: Row) -> Model:
    """Return the model that produced a row's answers."""
    assert isinstance(row.stage, Evaluate | Grade)
    return row.stage.model


def _summary(folder: str, cache: Path) -> dict[str, float]:
    return dict(json.loads((cache / folder / SUMMARY).read_text()))
