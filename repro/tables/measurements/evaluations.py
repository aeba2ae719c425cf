"""One evaluation as a measured table: the score of every item, paired with other evaluations by the item's content."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.evaluation.metrics import guess_rate
from repro.generation.rollouts import stream_rows
from repro.recipes.settings import flatten
from repro.stages.artifact import RECORD, ROLLOUTS
from repro.stages.readable_label import describe_record
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples
from repro.tasks import registry

_LEVEL = 0.05
_RESAMPLES = 2_000
_LEAST_CHANCE = 0.0005
"""A smaller score of guessing prints as 0.000: the task has none that a run could see."""


@dataclass(frozen=True)
class Chance:
    """The score of guessing. is_estimate: from the answers of the items; else 1 / the options of the task."""

    score: float
    is_estimate: bool

    def describe(self) -> str:
        return f"chance {'about ' if self.is_estimate else ''}{self.score:.3f}"


@dataclass(frozen=True)
class TaskScore:
    """An evaluation on one task.

    Attributes:
        metric: acc, or reward of an open-ended task; value: its mean over the items, in 0..1.
        interval: 95 %, by bootstrap over the items; None for a single item.
        items, completions: number of items, and of completions of each.
        truncated, unparsed: shares of the completions; unparsed is None for open-ended tasks.
        mean_tokens: length of a completion.
    """

    metric: str
    value: float
    interval: tuple[float, float] | None
    chance: Chance | None
    items: int
    completions: int
    truncated: float
    unparsed: float | None
    mean_tokens: float

    @property
    def is_above_chance(self) -> bool | None:
        """True if the complete interval lies above chance; None without an interval or a chance level."""
        if self.interval is None or self.chance is None:
            return None
        return self.interval[0] > self.chance.score


@dataclass(frozen=True)
class Evaluation:
    """A stored evaluation.

    Attributes:
        label: of the model, with the seeds of its training.
        settings: what decides the completions and their grades, by flat name.
        table: one row (`ROW`) with each task's main metric; tasks with a single item are not in it.
    """

    folder: Path
    label: str
    seed: int
    settings: dict[str, Any]
    scores: dict[str, TaskScore]
    table: MeasuredTable


ROW = "evaluation"


def read_evaluation(folder: Path) -> Evaluation:
    """Read the artifact of an evaluation, without the texts of its completions.

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
        settings = flatten(config["config"]) | {"grading rules": record["grading"]["rules"]}
        label, seed = describe_record(record, folder.parent).removeprefix("evaluate "), int(config["seed"])
        completions = min(int(facts["completions_per_item"]) for facts in tasks.values())
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
    return Evaluation(folder, label, seed, settings, scores, table)


def _advice(folder: Path) -> str:
    return f" Evaluate its model: repro evaluate {folder / 'model'}" if (folder / "model").is_dir() else ""


def _read_items(file: Path) -> dict[str, dict[str, tuple[str | None, list[float]]]]:
    """Return task -> item -> key and scores. An item is named by its id, prompt and key: files may number theirs alike."""
    tasks: dict[str, dict[str, tuple[str | None, list[float]]]] = {}
    for row in stream_rows(file, ["task", "item_id", "prompt", "key", "score"]):
        item = json.dumps([row["item_id"], row["prompt"], row["key"]])
        _, scores = tasks.setdefault(row["task"], {}).setdefault(item, (row["key"], []))
        scores.append(row["score"])
    return tasks


def _chance(task: str, keys: list[str | None]) -> Chance | None:
    """Return the score of guessing: of the task if its options are fixed, else by the answers of the items."""
    declared = registry.declared_chance(task)
    if declared is not None:
        return Chance(declared, is_estimate=False)
    known = [key for key in keys if key is not None]
    score = guess_rate(known) if len(known) > 1 else 0.0
    return Chance(score, is_estimate=True) if score >= _LEAST_CHANCE else None


def _score(task: str, facts: dict[str, Any], chance: Chance | None, draws: Resamples) -> TaskScore:
    metric = "acc" if "acc" in facts else "reward"
    ends = None
    if draws.measured.has(ROW, task, metric):
        contrast = {(ROW, task, metric): 1.0}
        ends = bounded(contrast, interval(draws.estimate(contrast, training=False), _LEVEL))
    return TaskScore(
        metric=metric,
        value=facts[metric],
        interval=ends,
        chance=chance,
        items=facts["items"],
        completions=facts["completions_per_item"],
        truncated=facts["truncated"],
        unparsed=facts.get("unparsed"),
        mean_tokens=facts["mean_tokens"],
    )
