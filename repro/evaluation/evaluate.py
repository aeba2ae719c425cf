"""Grade the completions of an evaluation, and summarise them per task."""

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
from repro.tasks.completion_grading import grade_completion
from repro.tasks.task import Item

log = logging.getLogger(__name__)


def evaluate(
    items: list[Item],
    chunks: Sequence[Path],
    reward_model: Path | str | None,
    out: Path,
    *,
    opens_in_thought: bool = False,
) -> list[Outcome]:
    """Grade every rollout against its item, and write them into one file.

    A few rollouts are in memory at a time. Only the texts of open-ended tasks are all loaded at once, because the
    reward model scores them in batches of similar length.

    Args:
        chunks: consecutive rollout files.
        opens_in_thought: the prompts end within a thought (see `repro.tasks.thoughts`).
    """
    outcomes = write_graded(out, grade_in_batches(items, chunks, reward_model, opens_in_thought=opens_in_thought))
    if undecided := sum(outcome.undecided for outcome in outcomes):
        log.warning("%d of %d answers could not be graded within the limits; they score 0", undecided, len(outcomes))
    return outcomes


def grade_in_batches(
    items: list[Item], chunks: Sequence[Path], reward_model: Path | str | None, *, opens_in_thought: bool = False
) -> Iterator[list[Graded]]:
    """Yield the rollouts of all chunks with their grades, a few at a time."""
    items_by_key = {(item.task, item.id): item for item in items}
    kinds = {task: registry.kind_of(task) for task in {item.task for item in items}}
    scorer = TaskReward(reward_model, opens_in_thought=opens_in_thought)
    rewards = _rewards(items_by_key, [task for task, kind in kinds.items() if kind == "open"], chunks, scorer)
    for batch in rollout_batches(chunks):
        graded = []
        for rollout in batch:
            item = items_by_key[rollout.task, rollout.item_id]
            result = grade_completion(
                item.task, kinds[item.task], rollout.text, item.key, item.prompt, opens_in_thought=opens_in_thought
            )
            score = next(rewards) if kinds[item.task] == "open" else float(result.correct)
            graded.append(Graded(rollout, item.key, result.answer, score, result.is_undecided))
        yield graded


def _rewards(
    items_by_key: dict[tuple[str, str], Item], tasks: list[str], chunks: Sequence[Path], scorer: TaskReward
) -> Iterator[float]:
    """Yield the reward model's scores of the completions of open-ended tasks, in order."""
    if not tasks:
        return iter(())
    pairs = [
        (items_by_key[row["task"], row["item_id"]], row["text"])
        for chunk in chunks
        for row in stream_rows(chunk, ["task", "item_id", "text"])
        if row["task"] in tasks
    ]
    return iter(scorer([item for item, _ in pairs], [text for _, text in pairs]))


def metric_per_item(outcomes: Sequence[Outcome], metric: str) -> dict[str, dict[str, float]]:
    """Return task -> item id -> value of a metric: acc, maj4, pass4 for verifiable tasks, reward for open-ended ones.

    Raises:
        ValueError: the k of maj or pass differs from an item's number of completions.
    """
    groups = by_prompt(outcomes)
    k = max(map(len, groups.values()), default=0)
    if metric not in ("acc", "reward", f"maj{k}", f"pass{k}"):
        raise ValueError(f"{metric} of {k} completions per item")
    kinds = {task: registry.kind_of(task) for task in dict.fromkeys(task for task, _ in groups)}
    values: dict[str, dict[str, float]] = {}
    for (task, item_id), group in groups.items():
        if (metric == "reward") == (kinds[task] == "open"):
            values.setdefault(task, {})[item_id] = _METRICS[metric.rstrip("0123456789")](group)
    return values


def failures_per_item(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """Return task -> failure -> item id -> rate over the item's completions: unparsed, truncated, repeating, empty."""
    groups = by_prompt(outcomes)
    kinds = {task: registry.kind_of(task) for task in dict.fromkeys(task for task, _ in groups)}
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for (task, item_id), group in groups.items():
        for name, failed in _FAILURES.items():
            if name != "unparsed" or kinds[task] != "open":
                rates.setdefault(task, {}).setdefault(name, {})[item_id] = sum(map(failed, group)) / len(group)
    return rates


def tokens_per_item(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Return task -> item id -> mean length of its completions, tokens."""
    lengths: dict[str, dict[str, list[int]]] = {}
    for outcome in outcomes:
        lengths.setdefault(outcome.task, {}).setdefault(outcome.item_id, []).append(outcome.tokens)
    return {
        task: {item: sum(tokens) / len(tokens) for item, tokens in items.items()} for task, items in lengths.items()
    }


def metric_names(task: str, completions: int) -> tuple[str, ...]:
    """Return the names of a task's metrics, e.g. maj4 and pass4 with 4 completions per item."""
    return ("reward",) if registry.kind_of(task) == "open" else ("acc", f"maj{completions}", f"pass{completions}")


def _mean_score(group: Sequence[Outcome]) -> float:
    return float(np.mean([g.score for g in group]))


def _of_answers(metric: Callable[..., float]) -> Callable[[Sequence[Outcome]], float]:
    return lambda group: metric([g.answer for g in group], group[0].key)


_METRICS: dict[str, Callable[[Sequence[Outcome]], float]] = {
    "acc": _of_answers(accuracy),
    "maj": _of_answers(maj_at_k),
    "pass": _of_answers(pass_at_k),
    "reward": _mean_score,
}


_FAILURES: dict[str, Callable[[Outcome], bool]] = {
    "unparsed": lambda g: g.answer is None,
    "truncated": lambda g: g.stop == "length",
    "repeating": lambda g: g.repeating,
    "empty": lambda g: g.empty,
}


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Summarise each task: its metrics, and the failure rates that any accuracy must be read with.

    undecided: answers for which grading hit a limit; omitted if 0.
    """
    summary: dict[str, Any] = {}
    failures = failures_per_item(outcomes)
    for task in dict.fromkeys(outcome.task for outcome in outcomes):
        of_task = [outcome for outcome in outcomes if outcome.task == task]
        items = len({outcome.item_id for outcome in of_task})
        names = metric_names(task, max(map(len, by_prompt(of_task).values())))
        values = {name: list(metric_per_item(of_task, name)[task].values()) for name in names}
        lengths = [outcome.tokens for outcome in of_task]
        summary[task] = {
            **{m: float(np.mean(v)) for m, v in values.items()},
            **{name: float(np.mean(list(rates.values()))) for name, rates in failures[task].items()},
            "items": items,
            "completions_per_item": len(of_task) // items,
            "mean_tokens": float(np.mean(lengths)),
            "tokens": int(sum(lengths)),
        }
        if undecided := sum(outcome.undecided for outcome in of_task):
            summary[task]["undecided"] = undecided
    return summary
