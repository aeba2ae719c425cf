"""One evaluation as a measured table: scores per item, paired with other evaluations by item content.

Evaluations of models whose training differs only in seeds are pooled into one table, with a row of values per seed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import InputError
from repro.evaluation.metrics import guess_rate
from repro.generation.rollouts import stream_rows
from repro.recipes.settings import flatten
from repro.stages.artifact import RECORD, ROLLOUTS
from repro.stages.model_origin import recipe_without_seeds, training_seeds
from repro.stages.readable_label import describe_record
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples
from repro.tasks import registry

INSTRUCTION = "instruction"
"""Evaluation setting: the text after each question, if the user changed it."""
LEVEL = 0.05
_RESAMPLES = 2_000
_LEAST_CHANCE = 0.0005
"""Smaller guessing scores print as 0.000: too small for a run to see."""


@dataclass(frozen=True)
class Chance:
    """The score of guessing. is_estimate: estimated from the items' answers; else 1 / the task's number of options."""

    score: float
    is_estimate: bool

    def describe(self) -> str:
        return f"chance {'about ' if self.is_estimate else ''}{self.score:.3f}"


@dataclass(frozen=True)
class TaskScore:
    """An evaluation's score on one task.

    Attributes:
        metric: acc, or reward of an open-ended task; value: its mean over the items (and training seeds), in 0..1.
        interval: 95 %, by bootstrap over the items and, where there are several, the training seeds; None for a single item.
        items, completions: number of items, and of completions per item.
        by_seed: the value for each training seed.
        truncated, unparsed: shares of the completions; unparsed is None for open-ended tasks.
        mean_tokens: length of a completion.
    """

    metric: str
    value: float
    by_seed: tuple[float, ...]
    interval: tuple[float, float] | None
    chance: Chance | None
    items: int
    completions: int
    truncated: float
    unparsed: float | None
    mean_tokens: float

    @property
    def is_above_chance(self) -> bool | None:
        """True if the whole interval lies above chance; None without an interval or a chance level."""
        if self.interval is None or self.chance is None:
            return None
        return self.interval[0] > self.chance.score


@dataclass(frozen=True)
class Evaluation:
    """A stored evaluation, or several of a training recipe repeated with different seeds.

    Attributes:
        folders: artifact folders, in the order of the training seeds.
        label: the model's label, with its training seeds.
        seeds: sampling seed of each folder.
        trainings: seeds of all training behind each folder's model; empty tuples for published models.
        recipe: what was trained and evaluated, without training and sampling seeds; equal if only these differ.
        settings: the settings that determine completions and grades, by flat name.
        table: one row (`ROW`) with each task's main metric; excludes tasks with a single item.
    """

    folders: tuple[Path, ...]
    label: str
    seeds: tuple[int, ...]
    trainings: tuple[tuple[int, ...], ...]
    recipe: str
    settings: dict[str, Any]
    scores: dict[str, TaskScore]
    table: MeasuredTable


ROW = "evaluation"


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation's artifact, without completion texts.

    Raises:
        InputError: another kind of artifact, or a damaged one.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        if record["stage"] != "evaluate":
            raise InputError(f"{folder}: {record['label']}, not an evaluation.{_advice(folder)}")
        summary = json.loads((folder / "summary.json").read_text())
        tasks = {task: facts for task, facts in summary.items() if "completions_per_item" in facts}
        config = record["config"]
        changed = [
            f"{data['task']} '{data['instruction']}'" for data in config["data"] if data.get("instruction") is not None
        ]
        settings = flatten(config["config"]) | {
            "grading rules": record["grading"]["rules"],
            INSTRUCTION: ", ".join(changed) or "the task's own",
        }
        label, seed = describe_record(record, folder.parent).removeprefix("evaluate "), int(config["seed"])
        completions = min(int(facts["completions_per_item"]) for facts in tasks.values())
        trainings = training_seeds(config["model"], folder.parent)
        recipe = json.dumps([recipe_without_seeds(config, folder.parent), record["grading"]], sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{folder}: not readable as an evaluation. Run it again.") from None
    table = MeasuredTable("evaluations", "toy", "", (seed,), completions)
    chances = {}
    for task, items in _read_items(folder / ROLLOUTS).items():
        if len(items) > 1:
            metric = "acc" if "acc" in tasks[task] else "reward"
            means = {item: sum(scores) / len(scores) for item, (_, scores) in items.items()}
            table.add_by_item(ROW, task, metric, [means])
        chances[task] = _chance(task, [key for key, _ in items.values()])
    draws = Resamples(table, table.values, _RESAMPLES)
    scores = {task: _score(task, facts, chances[task], draws) for task, facts in tasks.items()}
    return Evaluation((folder,), label, (seed,), (trainings,), recipe, settings, scores, table)


def pool_training_seeds(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Join evaluations of models whose training differs only in seeds; leave the others unchanged.

    Each joined evaluation takes the position of its first part. Nothing is joined if a single evaluation would remain:
    then the seeds themselves are being compared.
    """
    by_recipe: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        by_recipe.setdefault(evaluation.recipe, []).append(evaluation)
    pooled = []
    for group in by_recipe.values():
        seeds = _distinct_seeds(group)
        pooled += [_pool(group, seeds)] if len(group) > 1 and seeds else group
    return pooled if len(pooled) > 1 else list(evaluations)


def _distinct_seeds(group: Sequence[Evaluation]) -> list[int] | None:
    """Return the seed in which all training in a group differs (the model's own or an ancestor's), or None."""
    for of_one_training in zip(*(evaluation.trainings[0] for evaluation in group), strict=False):
        if len(set(of_one_training)) == len(group):
            return list(of_one_training)
    return None


def _pool(group: Sequence[Evaluation], seeds: Sequence[int]) -> Evaluation:
    order = np.argsort(seeds)
    parts = [group[n] for n in order]
    first = parts[0]
    table = MeasuredTable(
        "evaluations", "toy", "", tuple(seeds[n] for n in order), min(part.table.samples for part in parts)
    )
    for row, task, metric in first.table.values:
        values_SN = np.concatenate([part.table.values[row, task, metric].values_SN for part in parts])
        table.add(row, task, metric, first.table.items[task], values_SN)
    draws = Resamples(table, table.values, _RESAMPLES)
    name = first.label.partition(" (seed ")[0]
    return Evaluation(
        folders=tuple(part.folders[0] for part in parts),
        label=f"{name} ({len(seeds)} training seeds: {', '.join(map(str, table.seeds))})",
        seeds=tuple(part.seeds[0] for part in parts),
        trainings=tuple(part.trainings[0] for part in parts),
        recipe=first.recipe,
        settings=first.settings,
        scores={task: _pool_scores([part.scores[task] for part in parts], task, draws) for task in first.scores},
        table=table,
    )


def _advice(folder: Path) -> str:
    return f" Evaluate its model: repro evaluate {folder / 'model'}" if (folder / "model").is_dir() else ""


def _read_items(file: Path) -> dict[str, dict[str, tuple[str | None, list[float]]]]:
    """Return task -> item -> (key, scores). Items are identified by id, prompt and key: files may share numbering."""
    tasks: dict[str, dict[str, tuple[str | None, list[float]]]] = {}
    for row in stream_rows(file, ["task", "item_id", "prompt", "key", "score"]):
        item = json.dumps([row["item_id"], row["prompt"], row["key"]])
        _, scores = tasks.setdefault(row["task"], {}).setdefault(item, (row["key"], []))
        scores.append(row["score"])
    return tasks


def _chance(task: str, keys: list[str | None]) -> Chance | None:
    """Return the score of guessing: the task's if its options are fixed, else estimated from the items' answers."""
    declared = registry.declared_chance(task)
    if declared is not None:
        return Chance(declared, is_estimate=False)
    known = [key for key in keys if key is not None]
    score = guess_rate(known) if len(known) > 1 else 0.0
    return Chance(score, is_estimate=True) if score >= _LEAST_CHANCE else None


def _score(task: str, facts: dict[str, Any], chance: Chance | None, draws: Resamples) -> TaskScore:
    metric = "acc" if "acc" in facts else "reward"
    return TaskScore(
        metric=metric,
        value=facts[metric],
        by_seed=(facts[metric],),
        interval=_interval_of(task, metric, draws),
        chance=chance,
        items=facts["items"],
        completions=facts["completions_per_item"],
        truncated=facts["truncated"],
        unparsed=facts.get("unparsed"),
        mean_tokens=facts["mean_tokens"],
    )


def _pool_scores(scores: Sequence[TaskScore], task: str, draws: Resamples) -> TaskScore:
    first = scores[0]
    unparsed = [score.unparsed for score in scores if score.unparsed is not None]
    return replace(
        first,
        value=_mean([score.value for score in scores]),
        by_seed=tuple(score.value for score in scores),
        interval=_interval_of(task, first.metric, draws),
        truncated=_mean([score.truncated for score in scores]),
        unparsed=_mean(unparsed) if unparsed else None,
        mean_tokens=_mean([score.mean_tokens for score in scores]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval_of(task: str, metric: str, draws: Resamples) -> tuple[float, float] | None:
    """Return the interval of an evaluation's mean, or None for a task with a single item."""
    if not draws.measured.has(ROW, task, metric):
        return None
    contrast = {(ROW, task, metric): 1.0}
    return bounded(contrast, interval(draws.estimate(contrast), LEVEL))
