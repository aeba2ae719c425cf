"""Failure modes (section 6.5), from classifications: how students fail on the prompts they lost."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from repro.evaluation.classify import MODES_FILE
from repro.evaluation.failure_modes import MODES, find_rechecks
from repro.evaluation.graded import Outcome, PromptKey, by_prompt, read_outcomes
from repro.evaluation.lost_prompts import lost_prompts, majority_correctness
from repro.evaluation.metrics import pass_at_k
from repro.generation.rollouts import stream_rows
from repro.recipes.study import Row
from repro.stages import Classify, Stage
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.chosen_prompts import FEWEST_PROMPTS, add_lost, add_over_chosen
from repro.tasks import registry


def add_failures(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add every student's failure modes and, over all prompts, how completions end and how confident answers are.

    Over the prompts a student lost: the share of its completions in each mode. Over all prompts: the gap between pass@k
    and maj@k, overconfidence (how often the majority answer was given minus how often it is right), and
    `_add_behaviour`, also for teachers. If no model's completions contain a re-check phrase, metrics that need one are
    skipped.
    """
    stages = {label: [row.stage for row in rows if isinstance(row.stage, Classify)] for label, rows in rows_of.items()}
    stages = {label: seeds for label, seeds in stages.items() if seeds}
    evaluations: dict[str, Sequence[Stage]] = {
        label: [row.stage for row in rows] for label, rows in rows_of.items() if label not in stages
    }
    if stages:
        evaluations["Student"] = [stage.before for stage in next(iter(stages.values()))]
    evaluations |= {label: [stage.after for stage in seeds] for label, seeds in stages.items()}
    files = {label: [cache / e.folder_name / ROLLOUTS for e in seeds] for label, seeds in evaluations.items()}
    rechecks = {label: [_rechecks(file) for file in seeds] for label, seeds in files.items()}
    can_recheck = any(any(flags) for seeds in rechecks.values() for by_prompt in seeds for flags in by_prompt.values())
    outcomes = {label: [read_outcomes(file) for file in seeds] for label, seeds in files.items()}
    for label, seeds in outcomes.items():
        _add_behaviour(table, label, seeds, rechecks[label] if can_recheck else None)
    for label, seeds in outcomes.items():
        if label not in ("Student", *stages):
            continue
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


def _rechecks(file: Path) -> dict[PromptKey, list[bool]]:
    """Return, per prompt, which of its completions contain a re-check phrase."""
    flags: dict[PromptKey, list[bool]] = {}
    for row in stream_rows(file, ["task", "item_id", "text"]):
        flags.setdefault((row["task"], row["item_id"]), []).append(bool(find_rechecks(row["text"])))
    return flags


def _add_behaviour(
    table: MeasuredTable,
    label: str,
    seeds: Sequence[Sequence[Outcome]],
    rechecks: Sequence[Mapping[PromptKey, Sequence[bool]]] | None,
) -> None:
    """Add three completion rates for verifiable tasks.

    rechecking: completions with a re-check phrase. uncommitted: completions cut at the token limit before any answer.
    repetition_recovery: among completions with a repeated span, the share that still ends by itself with an answer; a
    cell only if enough prompts have one.
    """
    groups = [by_prompt(outcomes) for outcomes in seeds]
    tasks = dict.fromkeys(task for task, _ in groups[0] if registry.kind_of(task) != "open")
    for task in tasks:
        of_task = [{item: group for (t, item), group in seed.items() if t == task} for seed in groups]
        cut = [
            {item: _share(g.stop == "length" and g.answer is None for g in group) for item, group in seed.items()}
            for seed in of_task
        ]
        table.add_by_item(label, task, "uncommitted", cut)
        if rechecks is not None:
            shares = [{item: _share(flags) for (t, item), flags in seed.items() if t == task} for seed in rechecks]
            table.add_by_item(label, task, "rechecking", shares)
        repeating = [{item: [g for g in group if g.repeating] for item, group in seed.items()} for seed in of_task]
        if all(sum(map(bool, seed.values())) >= FEWEST_PROMPTS for seed in repeating):
            recovered = [
                {item: _share(g.stop == "eos" and g.answer is not None for g in group) for item, group in seed.items()}
                for seed in repeating
            ]
            weights = [{item: float(len(group)) for item, group in seed.items()} for seed in repeating]
            table.add_by_item(label, task, "repetition_recovery", recovered, weights)


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else 0.0


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
