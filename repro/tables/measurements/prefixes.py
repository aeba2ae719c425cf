"""Figure 4 from its continuations: how often teachers still get the answer right after a misled student's prefix."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from repro.evaluation.graded import read_outcomes
from repro.evaluation.lost_prompts import lost_prompts
from repro.evaluation.prefixes import CONTINUATIONS_FILE
from repro.recipes.labels import after_prefix, from_arbitrary_beginning
from repro.recipes.study import Row
from repro.stages import Continue
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.chosen_prompts import add_lost, add_over_chosen
from repro.tasks import registry

PREFIX_CORRECT = "prefix_correct"
MISLED = "Misled"
"""The row in which the student itself continues its own prefixes."""

Continuations = Sequence[Mapping[str, Any]]
"""The rows of one seed's file (see `evaluation.prefixes`)."""


def add_prefixes(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add a row per model that continues prefixes cut before a re-check, and our rows for arbitrary beginnings.

    Before a re-check (the paper's population; the row is named after the model): every prompt with such a prefix. The
    misled student also continues its own prefixes, since the completions they were cut from are wrong by selection.
    Arbitrary beginnings: their mean, and one row per length. A teacher's cells use the prompts that the student lost
    and that this teacher solves by majority without a prefix, i.e. those a prefix can spoil; all others have weight 0.
    The first half of a prompt's no-prefix samples decides whether it is solved, and the second half is measured as "no
    prefix": using one half for both would favour "no prefix". The misled student uses the teacher's prompts if that was
    measured. Prefixes that state or begin the answer are left out.
    """
    solved: dict[tuple[str, str], list[set[str]]] = {}
    for label, rows in rows_of.items():
        stages = [cast(Continue, row.stage) for row in rows]
        continuations = [pq.read_table(cache / stage.folder_name / CONTINUATIONS_FILE).to_pylist() for stage in stages]
        before = [read_outcomes(cache / stage.before.folder_name / ROLLOUTS) for stage in stages]
        after = [read_outcomes(cache / stage.after.folder_name / ROLLOUTS) for stage in stages]
        fractions = stages[0].prefixes.fractions
        for task in [data.task for data in stages[0].data if registry.kind_of(data.task) != "open"]:
            items = sorted({outcome.item_id for outcome in before[0] if outcome.task == task})
            halves = [_halves(seed, task) for seed in continuations]
            solved[label, task] = [{item for item, share in first.items() if share > 0.5} for first, _ in halves]
            rechecked = [_correct_before_recheck(seed, task) for seed in continuations]
            add_over_chosen(table, label, task, PREFIX_CORRECT, items, rechecked)
            arbitrary = [_correct(seed, task, fractions) for seed in continuations]
            correct = {from_arbitrary_beginning(label): arbitrary}
            for fraction in fractions:
                correct[after_prefix(label, fraction)] = [_correct(seed, task, [fraction]) for seed in continuations]
            if label == MISLED:
                add_lost(table, label, task, items, [lost_prompts(a, b) for a, b in zip(before, after)])
            else:
                correct[after_prefix(label, 0.0)] = [second for _, second in halves]
            prompts = solved.get(("Teacher" if label == MISLED else label, task))
            if prompts is None:
                continue
            for row_label, by_seed in correct.items():
                chosen = [
                    {item: share for item, share in shares.items() if item in seed_prompts}
                    for shares, seed_prompts in zip(by_seed, prompts)
                ]
                add_over_chosen(table, row_label, task, PREFIX_CORRECT, items, chosen)


def _correct_before_recheck(rows: Continuations, task: str) -> dict[str, float]:
    """Return item -> share of correct continuations of its prefixes cut before a re-check."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row["task"] == task and row["cut"] == "re-check":
            groups.setdefault(str(row["item_id"]), []).append(float(bool(row["correct"])))
    return {item: float(np.mean(values)) for item, values in groups.items()}


def _correct(rows: Continuations, task: str, fractions: Collection[float]) -> dict[str, float]:
    """Return item -> share of correct continuations, excluding those of committed prefixes."""
    return {item: float(np.mean(values)) for item, values in _correct_by_item(rows, task, fractions).items()}


def _halves(rows: Continuations, task: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return item -> share of correct no-prefix samples, for the first and for the second half."""
    first: dict[str, float] = {}
    second: dict[str, float] = {}
    for item, values in _correct_by_item(rows, task, [0.0]).items():
        middle = len(values) // 2
        for share, half in ((first, values[:middle]), (second, values[middle:])):
            if half:
                share[item] = float(np.mean(half))
    return first, second


def _correct_by_item(rows: Continuations, task: str, fractions: Collection[float]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for row in rows:
        is_chosen = row["task"] == task and row["cut"] == "share" and row["fraction"] in fractions
        if is_chosen and not row["committed"]:
            groups.setdefault(str(row["item_id"]), []).append(float(bool(row["correct"])))
    return groups
