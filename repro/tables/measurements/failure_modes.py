"""Failure modes (section 6.5) from their classifications: how students fail on the prompts that they lost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from repro.evaluation.classify import MODES_FILE
from repro.evaluation.failure_modes import MODES, find_rechecks
from repro.evaluation.graded import Outcome, by_prompt, read_outcomes
from repro.evaluation.lost_prompts import lost_prompts, majority_correctness
from repro.evaluation.metrics import pass_at_k
from repro.generation.rollouts import stream_rows
from repro.recipes.study import Row
from repro.stages import Classify
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.chosen_prompts import add_lost, add_over_chosen


def add_failures(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add the failure modes of every student, and over all prompts how sure it is of its answers.

    Over the prompts that a student lost: the share of its completions in each mode. Over all prompts: the gap of pass@k
    and maj@k, and overconfidence (how often the majority answer was given, less how often it is right).
    """
    stages = {label: [cast(Classify, row.stage) for row in rows] for label, rows in rows_of.items()}
    evaluations = {"Student": [stage.before for stage in next(iter(stages.values()))]}
    evaluations |= {label: [stage.after for stage in seeds] for label, seeds in stages.items()}
    files = {label: [cache / e.folder_name / ROLLOUTS for e in seeds] for label, seeds in evaluations.items()}
    can_recheck = any(
        find_rechecks(row["text"]) for seeds in files.values() for file in seeds for row in stream_rows(file, ["text"])
    )
    outcomes = {label: [read_outcomes(file) for file in seeds] for label, seeds in files.items()}
    for label, seeds in outcomes.items():
        for task, by_seed in _confidence(seeds).items():
            for metric in by_seed[0]:
                table.add_by_item(label, task, metric, [seed[metric] for seed in by_seed])
    for label, classified in stages.items():
        lost = [lost_prompts(before, after) for before, after in zip(outcomes["Student"], outcomes[label])]
        modes = [pq.read_table(cache / stage.folder_name / MODES_FILE).to_pylist() for stage in classified]
        for task in table.tasks:
            items = table.items[task]
            add_lost(table, label, task, items, lost)
            for mode in MODES:
                if mode != "self_correction" or can_recheck:
                    add_over_chosen(table, label, task, mode, items, [_mode_shares(seed, task, mode) for seed in modes])


def _confidence(seeds: Sequence[Sequence[Outcome]]) -> dict[str, list[dict[str, dict[str, float]]]]:
    """Return task -> per seed, metric -> item -> value."""
    by_task: dict[str, list[dict[str, dict[str, float]]]] = {}
    for outcomes in seeds:
        values_of: dict[str, dict[str, dict[str, float]]] = {}
        correctness = majority_correctness(outcomes)
        for (task, item), group in by_prompt(outcomes).items():
            if (task, item) not in correctness:
                continue
            answers = [outcome.answer for outcome in group]
            stated = [answer for answer in answers if answer is not None]
            share = max((stated.count(answer) for answer in set(stated)), default=0) / len(answers)
            values = values_of.setdefault(task, {"pass_maj_gap": {}, "overconfidence": {}})
            values["pass_maj_gap"][item] = pass_at_k(answers, group[0].key or "") - correctness[task, item]
            values["overconfidence"][item] = share - correctness[task, item]
        for task, values in values_of.items():
            by_task.setdefault(task, []).append(values)
    return by_task


def _mode_shares(rows: Sequence[Mapping[str, Any]], task: str, mode: str) -> dict[str, float]:
    """Return item -> share of its completions in that mode."""
    groups: dict[str, list[bool]] = {}
    for row in rows:
        if row["task"] == task:
            groups.setdefault(str(row["item_id"]), []).append(row["mode"] == mode)
    return {item: float(np.mean(group)) for item, group in groups.items()}
