"""Graded completions, and what they say per task."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repro.evaluation.failures import repeats
from repro.evaluation.metrics import accuracy, maj_at_k, pass_at_k
from repro.evaluation.task_reward import TaskReward
from repro.generation.rollouts import SCHEMA, Rollout
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item

GRADED = SCHEMA.append(pa.field("key", pa.string())).append(pa.field("answer", pa.string()))
GRADED = GRADED.append(pa.field("score", pa.float64()))


@dataclass(frozen=True)
class Graded:
    """A rollout with what it answered. score: 1/0 for verifiable tasks, the reward in 0..1 for open-ended ones."""

    rollout: Rollout
    key: str | None
    answer: str | None
    score: float


def grade_rollouts(items: list[Item], rollouts: list[Rollout], reward_model: Path | str | None) -> list[Graded]:
    """Grade every rollout against its item."""
    by_id = {(item.task, item.id): item for item in items}
    owners = [by_id[rollout.task, rollout.item_id] for rollout in rollouts]
    scores = TaskReward(reward_model)(owners, [rollout.text for rollout in rollouts])
    kinds = {task: registry.kind_of(task) for task in {item.task for item in items}}
    return [
        Graded(rollout, item.key, grade(kinds[item.task], rollout.text, item.key).answer, score)
        for rollout, item, score in zip(rollouts, owners, scores)
    ]


def write_graded(path: Path, graded: list[Graded]) -> None:
    """One Parquet row per completion: the rollout record and its grade."""
    rows = [asdict(g.rollout) | {"key": g.key, "answer": g.answer, "score": g.score} for g in graded]
    pq.write_table(pa.Table.from_pylist(rows, schema=GRADED), path, compression="zstd")


def read_graded(path: Path) -> list[Graded]:
    """Read a file that `write_graded` wrote."""
    rows = pq.read_table(path).to_pylist()
    own = ("key", "answer", "score")
    return [Graded(Rollout(**{k: v for k, v in row.items() if k not in own}), *(row[k] for k in own)) for row in rows]


def per_item(graded: list[Graded], metric: str) -> dict[str, dict[str, float]]:
    """task -> item id -> value of one metric: acc, maj16, pass16 for verifiable tasks, reward for open-ended ones."""
    groups: dict[tuple[str, str], list[Graded]] = {}
    for g in graded:
        groups.setdefault((g.rollout.task, g.rollout.item_id), []).append(g)
    values: dict[str, dict[str, float]] = {}
    for (task, item_id), group in groups.items():
        if metric in metrics_of(task):
            values.setdefault(task, {})[item_id] = _METRICS[metric](group)
    return values


def failures_per_item(graded: list[Graded]) -> dict[str, dict[str, dict[str, float]]]:
    """task -> failure -> item id -> rate over the item's completions: unparsed, truncated, repeating, empty."""
    groups: dict[tuple[str, str], list[Graded]] = {}
    for g in graded:
        groups.setdefault((g.rollout.task, g.rollout.item_id), []).append(g)
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for (task, item_id), group in groups.items():
        for name, failed in _FAILURES.items():
            if name != "unparsed" or registry.kind_of(task) != "open":
                rates.setdefault(task, {}).setdefault(name, {})[item_id] = float(np.mean([failed(g) for g in group]))
    return rates


def tokens_per_item(graded: list[Graded]) -> dict[str, dict[str, float]]:
    """task -> item id -> mean length of its completions, tokens."""
    lengths: dict[str, dict[str, list[int]]] = {}
    for g in graded:
        lengths.setdefault(g.rollout.task, {}).setdefault(g.rollout.item_id, []).append(len(g.rollout.token_ids))
    return {task: {item: float(np.mean(own)) for item, own in items.items()} for task, items in lengths.items()}


def metrics_of(task: str) -> tuple[str, ...]:
    """Names of the metrics that a task has."""
    return ("reward",) if registry.kind_of(task) == "open" else ("acc", "maj16", "pass16")


def _mean_score(group: list[Graded]) -> float:
    return float(np.mean([g.score for g in group]))


def _of_answers(metric: Callable[..., float]) -> Callable[[list[Graded]], float]:
    return lambda group: metric([g.answer for g in group], group[0].key)


_METRICS: dict[str, Callable[[list[Graded]], float]] = {
    "acc": _of_answers(accuracy),
    "maj16": _of_answers(maj_at_k),
    "pass16": _of_answers(pass_at_k),
    "reward": _mean_score,
}


_FAILURES: dict[str, Callable[[Graded], bool]] = {
    "unparsed": lambda g: g.answer is None,
    "truncated": lambda g: g.rollout.stop == "length",
    "repeating": lambda g: repeats(g.rollout.token_ids),
    "empty": lambda g: not g.rollout.text.strip(),
}


def summarise(graded: list[Graded]) -> dict[str, Any]:
    """Per task: the metrics, and the failure rates without which no accuracy should be read."""
    summary: dict[str, Any] = {}
    failures = failures_per_item(graded)
    for task in dict.fromkeys(g.rollout.task for g in graded):
        own = [g for g in graded if g.rollout.task == task]
        values = {m: list(per_item(own, m)[task].values()) for m in metrics_of(task)}
        items = len(next(iter(values.values())))
        lengths = [len(g.rollout.token_ids) for g in own]
        summary[task] = {
            **{m: float(np.mean(v)) for m, v in values.items()},
            **{name: float(np.mean(list(rates.values()))) for name, rates in failures[task].items()},
            "items": items,
            "completions_per_item": len(own) // items,
            "mean_tokens": float(np.mean(lengths)),
            "tokens": int(sum(lengths)),
        }
    return summary
