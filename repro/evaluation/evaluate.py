"""Grade an evaluation's completions, and what they say per task."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.evaluation.graded import Graded, Outcome, by_prompt, write_graded
from repro.evaluation.metrics import accuracy, maj_at_k, pass_at_k
from repro.evaluation.task_reward import TaskReward
from repro.generation.rollouts import rollout_batches, stream_rows
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item

log = logging.getLogger(__name__)


def evaluate(items: list[Item], chunks: Sequence[Path], reward_model: Path | str | None, out: Path) -> list[Outcome]:
    """Grade every rollout against its item, and write them into one file.

    A few rollouts are in memory at a time; only the texts of open-ended tasks are all held at once, since the reward model
    scores them in batches of like length.

    Args:
        chunks: rollout files that follow each other.
    """
    outcomes = write_graded(out, graded_pieces(items, chunks, reward_model))
    if undecided := sum(outcome.undecided for outcome in outcomes):
        log.warning("%d of %d answers could not be graded within the limits; they score 0", undecided, len(outcomes))
    return outcomes


def graded_pieces(items: list[Item], chunks: Sequence[Path], reward_model: Path | str | None) -> Iterator[list[Graded]]:
    """The rollouts of all chunks with their grades, a few at a time."""
    owners = {(item.task, item.id): item for item in items}
    kinds = {task: registry.kind_of(task) for task in {item.task for item in items}}
    rewards = _rewards(owners, [task for task, kind in kinds.items() if kind == "open"], chunks, reward_model)
    for piece in rollout_batches(chunks):
        graded = []
        for rollout in piece:
            item = owners[rollout.task, rollout.item_id]
            result = grade(kinds[item.task], rollout.text, item.key)
            score = next(rewards) if kinds[item.task] == "open" else float(result.correct)
            graded.append(Graded(rollout, item.key, result.answer, score, result.is_undecided))
        yield graded


def _rewards(
    owners: dict[tuple[str, str], Item], tasks: list[str], chunks: Sequence[Path], reward_model: Path | str | None
) -> Iterator[float]:
    """The reward model's scores of the completions of open-ended tasks, in order."""
    if not tasks:
        return iter(())
    found = [
        (owners[row["task"], row["item_id"]], row["text"])
        for chunk in chunks
        for row in stream_rows(chunk, ["task", "item_id", "text"])
        if row["task"] in tasks
    ]
    return iter(TaskReward(reward_model)([item for item, _ in found], [text for _, text in found]))


def metric_per_item(outcomes: Sequence[Outcome], metric: str) -> dict[str, dict[str, float]]:
    """task -> item id -> value of one metric: acc, maj16, pass16 for verifiable tasks, reward for open-ended ones."""
    values: dict[str, dict[str, float]] = {}
    for (task, item_id), group in by_prompt(outcomes).items():
        if metric in metric_names(task):
            values.setdefault(task, {})[item_id] = _METRICS[metric](group)
    return values


def failures_per_item(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """task -> failure -> item id -> rate over the item's completions: unparsed, truncated, repeating, empty."""
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for (task, item_id), group in by_prompt(outcomes).items():
        for name, failed in _FAILURES.items():
            if name != "unparsed" or registry.kind_of(task) != "open":
                rates.setdefault(task, {}).setdefault(name, {})[item_id] = float(np.mean([failed(g) for g in group]))
    return rates


def tokens_per_item(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """task -> item id -> mean length of its completions, tokens."""
    lengths: dict[str, dict[str, list[int]]] = {}
    for one in outcomes:
        lengths.setdefault(one.task, {}).setdefault(one.item_id, []).append(one.tokens)
    return {task: {item: float(np.mean(own)) for item, own in items.items()} for task, items in lengths.items()}


def metric_names(task: str) -> tuple[str, ...]:
    """Names of the metrics that a task has."""
    return ("reward",) if registry.kind_of(task) == "open" else ("acc", "maj16", "pass16")


def _mean_score(group: Sequence[Outcome]) -> float:
    return float(np.mean([g.score for g in group]))


def _of_answers(metric: Callable[..., float]) -> Callable[[Sequence[Outcome]], float]:
    return lambda group: metric([g.answer for g in group], group[0].key)


_METRICS: dict[str, Callable[[Sequence[Outcome]], float]] = {
    "acc": _of_answers(accuracy),
    "maj16": _of_answers(maj_at_k),
    "pass16": _of_answers(pass_at_k),
    "reward": _mean_score,
}


_FAILURES: dict[str, Callable[[Outcome], bool]] = {
    "unparsed": lambda g: g.answer is None,
    "truncated": lambda g: g.stop == "length",
    "repeating": lambda g: g.repeating,
    "empty": lambda g: g.empty,
}


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Per task: the metrics, and the failure rates without which no accuracy should be read.

    undecided: answers whose grading reached a limit; only where there are any.
    """
    summary: dict[str, Any] = {}
    failures = failures_per_item(outcomes)
    for task in dict.fromkeys(one.task for one in outcomes):
        own = [one for one in outcomes if one.task == task]
        values = {m: list(metric_per_item(own, m)[task].values()) for m in metric_names(task)}
        items = len(next(iter(values.values())))
        lengths = [one.tokens for one in own]
        summary[task] = {
            **{m: float(np.mean(v)) for m, v in values.items()},
            **{name: float(np.mean(list(rates.values()))) for name, rates in failures[task].items()},
            "items": items,
            "completions_per_item": len(own) // items,
            "mean_tokens": float(np.mean(lengths)),
            "tokens": int(sum(lengths)),
        }
        if undecided := sum(one.undecided for one in own):
            summary[task]["undecided"] = undecided
    return summary
