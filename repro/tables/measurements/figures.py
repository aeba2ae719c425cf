"""From the artifacts of the further studies to measured tables: gains, prefixes, failure modes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from repro.evaluation.classify import MODES_FILE
from repro.evaluation.evaluate import metric_names, metric_per_item
from repro.evaluation.failure_modes import MODES, find_rechecks
from repro.evaluation.graded import Outcome, by_prompt, read_outcomes
from repro.evaluation.lost_prompts import LostPrompts, lost_prompts, majority_correctness
from repro.evaluation.metrics import pass_at_k
from repro.evaluation.prefixes import CONTINUATIONS_FILE
from repro.generation.rollouts import stream_rows
from repro.recipes.labels import after_prefix
from repro.recipes.study import Row
from repro.stages import BaseModelRef, Classify, Continue, Evaluate
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples

FEWEST = 5
"""Prompts from which a rate over chosen prompts is a cell: below, its interval would say nothing."""
SHORTFALL = "shortfall"
LOSS = "loss_under_better_teacher"
PREFIX_CORRECT = "prefix_correct"
MISLED = "Misled"
"""The row of Figure 4 in which the student itself goes on from its prefixes."""

Cell = tuple[float, float]
"""Value and weight."""
ByItem = Mapping[str, Cell]


def add_gains(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Figure 1a: every teacher, every student, and each student's gain.

    Of teachers as they came (none that we calibrated): the loss under one that is more accurate than the student; and for
    each two of them the shortfall of the more accurate one's student. More accurate: by more than chance (the 95 % interval
    of the difference); where neither is, there is no such cell.
    """
    own: dict[str, list[dict[str, dict[str, float]]]] = {}
    metric_of = {task: metric_names(task)[0] for task in table_tasks(rows_of)}
    for label, rows in rows_of.items():
        outcomes = [read_outcomes(_answers_of(row.stage, cache)) for row in rows]
        own[label] = [{t: metric_per_item(one, m)[t] for t, m in metric_of.items()} for one in outcomes]
        for task, metric in metric_of.items():
            _plain(table, label, task, metric, [one[task] for one in own[label]])
    student_of = {rows[0].of: label for label, rows in rows_of.items() if rows[0].of is not None}
    teachers = [label for label in rows_of if label in student_of]
    untouched = [
        label for label in teachers if isinstance(getattr(rows_of[label][0].stage, "model", None), BaseModelRef)
    ]
    for task, metric in metric_of.items():

        def difference(one: str, other: str, task: str = task) -> list[dict[str, float]]:
            return [{i: a[task][i] - b[task][i] for i in a[task]} for a, b in zip(own[one], own[other])]

        draws = Resamples(table, [(label, task, metric) for label in (*untouched, "Student")])

        def better(one: str, other: str, task: str = task, metric: str = metric, draws: Resamples = draws) -> bool:
            gap = draws.estimate({(one, task, metric): 1.0, (other, task, metric): -1.0}, training=False)
            return interval(gap, 0.05)[0] > 0

        for label in teachers:
            _plain(table, student_of[label], task, "gain", difference(student_of[label], "Student"))
        for label in untouched:
            if better(label, "Student"):
                _plain(table, student_of[label], task, LOSS, difference("Student", student_of[label]))
            for other in untouched:
                if other != label and better(label, other):
                    worse = difference(student_of[other], student_of[label])
                    _plain(table, f"{label} over {other}", task, SHORTFALL, worse)


def add_prefixes(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Figure 4: per model that goes on from the prefixes a row (mean over them), and one per prefix length.

    Prompts of a teacher's cells: those that the student lost and this teacher, without a prefix, solves by majority: what
    can be kept. All others weigh nothing. The first half of a prompt's samples without a prefix says whether it is solved,
    the other half is what "no prefix" measures: one half for both would favour no prefix. The misled student goes on from
    its prefixes itself, on the teacher's prompts: the completions that they were cut from are wrong by choice. A prefix
    that states or begins its answer is left out.
    """
    kept: dict[tuple[str, str], list[set[str]]] = {}
    for label, rows in rows_of.items():
        stages = [row.stage for row in rows if isinstance(row.stage, Continue)]
        drawn = [pq.read_table(cache / stage.folder_name / CONTINUATIONS_FILE).to_pylist() for stage in stages]
        before = [read_outcomes(_answers_of(stage.before, cache)) for stage in stages]
        after = [read_outcomes(_answers_of(stage.after, cache)) for stage in stages]
        lengths = stages[0].prefixes.fractions
        for task in [one.task for one in stages[0].data if metric_names(one.task) != ("reward",)]:
            items = sorted({one.item_id for one in before[0] if one.task == task})
            alone = [_halves(rows, task) for rows in drawn]
            shown = {label: [_correct(rows, task, *lengths) for rows in drawn]}
            shown |= {
                after_prefix(label, fraction): [_correct(r, task, fraction) for r in drawn] for fraction in lengths
            }
            kept[label, task] = [{item for item, share in first.items() if share > 0.5} for first, _ in alone]
            if label == MISLED:
                _add_lost(table, label, task, items, [lost_prompts(a, b) for a, b in zip(before, after)])
            else:
                shown[after_prefix(label, 0.0)] = [second for _, second in alone]
            asked = kept["Teacher" if label == MISLED else label, task]
            for row, by_seed in shown.items():
                cells = [
                    {item: (one[item], 1.0) if item in own and item in one else (0.0, 0.0) for item in items}
                    for one, own in zip(by_seed, asked)
                ]
                _weighted(table, row, task, PREFIX_CORRECT, cells)


def add_failures(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Failure modes: over the prompts that a student lost, the share of its completions in each mode; over all prompts the
    gap of pass@k and maj@k, and overconfidence: how often the majority answer was given, less how often it is right."""
    evaluations: dict[str, list[Path]] = {}
    for label, rows in rows_of.items():
        for row in rows:
            assert isinstance(row.stage, Classify)
            if label == next(iter(rows_of)):
                evaluations.setdefault("Student", []).append(_answers_of(row.stage.before, cache))
            evaluations.setdefault(label, []).append(_answers_of(row.stage.after, cache))
    files = [file for seeds in evaluations.values() for file in seeds]
    can_recheck = any(find_rechecks(row["text"]) for file in files for row in stream_rows(file, ["text"]))
    outcomes = {label: [read_outcomes(file) for file in seeds] for label, seeds in evaluations.items()}
    for label, seeds in outcomes.items():
        for task, per_seed in _confidence(seeds).items():
            for metric in ("pass_maj_gap", "overconfidence"):
                _plain(table, label, task, metric, [one[metric] for one in per_seed])
    for label, rows in rows_of.items():
        lost = [lost_prompts(a, b) for a, b in zip(outcomes["Student"], outcomes[label])]
        modes = [pq.read_table(cache / row.stage.folder_name / MODES_FILE).to_pylist() for row in rows]
        for task in table.tasks:
            items = list(table.items[task])
            _add_lost(table, label, task, items, lost)
            for mode in MODES:
                if mode != "self_correction" or can_recheck:
                    _weighted(table, label, task, mode, [_mode_share(one, task, mode, items) for one in modes])


def table_tasks(rows_of: Mapping[str, Sequence[Row]]) -> list[str]:
    """Tasks of the rows' evaluations."""
    stage = next(iter(rows_of.values()))[0].stage
    return [one.task for one in stage.data]


def _answers_of(stage: object, cache: Path) -> Path:
    assert isinstance(stage, Evaluate)
    return cache / stage.folder_name / ROLLOUTS


def _add_lost(table: MeasuredTable, label: str, task: str, items: list[str], lost: Sequence[LostPrompts]) -> None:
    """The share of the student's solved prompts that it lost, and the share that it had solved at all."""
    solved = [{item: float((task, item) in one.solved) for item in items} for one in lost]
    if not table.has("Student", task, "solved"):
        _plain(table, "Student", task, "solved", solved)
    fallen = [
        {item: (float((task, item) in one.lost), weight[item]) for item in items} for one, weight in zip(lost, solved)
    ]
    _weighted(table, label, task, "lost", fallen)


def _confidence(seeds: Sequence[Sequence[Outcome]]) -> dict[str, list[dict[str, dict[str, float]]]]:
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for one in seeds:
        own: dict[str, dict[str, dict[str, float]]] = {}
        right = majority_correctness(one)
        for (task, item), group in by_prompt(one).items():
            if (task, item) not in right:
                continue
            answers = [g.answer for g in group]
            said = [answer for answer in answers if answer is not None]
            share = max((said.count(answer) for answer in set(said)), default=0) / len(answers)
            values = own.setdefault(task, {"pass_maj_gap": {}, "overconfidence": {}})
            values["pass_maj_gap"][item] = pass_at_k(answers, group[0].key or "") - right[task, item]
            values["overconfidence"][item] = share - right[task, item]
        for task, values in own.items():
            found.setdefault(task, []).append(values)
    return found


def _mode_share(rows: Sequence[Mapping[str, object]], task: str, mode: str, items: Sequence[str]) -> ByItem:
    groups: dict[str, list[bool]] = {}
    for row in rows:
        if row["task"] == task:
            groups.setdefault(str(row["item_id"]), []).append(row["mode"] == mode)
    return {item: (float(np.mean(groups[item])), 1.0) if item in groups else (0.0, 0.0) for item in items}


def _correct(rows: Sequence[Mapping[str, object]], task: str, *fractions: float) -> dict[str, float]:
    """Item -> share of its continuations that end right, those of committed prefixes left out."""
    return {item: float(np.mean(values)) for item, values in _by_item(rows, task, *fractions).items()}


def _halves(rows: Sequence[Mapping[str, object]], task: str) -> tuple[dict[str, float], dict[str, float]]:
    """Item -> share of its samples without a prefix that are right: of the first half, and of the other."""
    groups = _by_item(rows, task, 0.0)
    parts = {item: (values[: len(values) // 2], values[len(values) // 2 :]) for item, values in groups.items()}
    first, second = ({item: float(np.mean(halves[n])) for item, halves in parts.items() if halves[n]} for n in (0, 1))
    return first, second


def _by_item(rows: Sequence[Mapping[str, object]], task: str, *fractions: float) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row["task"] == task and row["fraction"] in fractions and not row["committed"]:
            groups.setdefault(str(row["item_id"]), []).append(float(bool(row["correct"])))
    return groups


def _plain(table: MeasuredTable, row: str, task: str, metric: str, by_seed: Sequence[Mapping[str, float]]) -> None:
    items = sorted(by_seed[0])
    table.add(row, task, metric, items, [[one[item] for item in items] for one in by_seed])


def _weighted(table: MeasuredTable, row: str, task: str, metric: str, by_seed: Sequence[ByItem]) -> None:
    """Add a cell over the prompts that weigh something, where every seed has enough of them."""
    items = sorted(by_seed[0])
    if all(sum(one[item][1] > 0 for item in items) >= FEWEST for one in by_seed):
        values, weights = ([[one[item][part] for item in items] for one in by_seed] for part in (0, 1))
        table.add(row, task, metric, items, values, weights)
