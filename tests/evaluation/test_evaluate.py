"""Grading of rollouts, per-item values and summaries."""

import pytest

from repro.errors import InputError
from repro.evaluation.evaluate import (
    failures_per_item,
    grade_rollouts,
    per_item,
    read_graded,
    summarise,
    write_graded,
)
from repro.evaluation.task_reward import TaskReward
from repro.generation.rollouts import Rollout
from repro.tasks.task import Item

ITEMS = [Item("a", "toy-bm4", "?", "7"), Item("b", "toy-bm4", "?", "2"), Item("c", "toy-csqa", "?", "B")]


def rollout(item, sample, text, stop="eos", tokens=(1, 2, 3)):
    return Rollout(item.id, item.task, item.prompt, sample, [4], list(tokens), [-0.1] * len(tokens), text, stop)


ROLLOUTS = [
    rollout(ITEMS[0], 0, r"\boxed{7}"),
    rollout(ITEMS[0], 1, r"\boxed{7.0}"),
    rollout(ITEMS[0], 2, r"\boxed{3}"),
    rollout(ITEMS[0], 3, r"\boxed{7", stop="length"),
    rollout(ITEMS[1], 0, "", tokens=(2,)),
    rollout(ITEMS[1], 1, r"\boxed{2}"),
    rollout(ITEMS[1], 2, r"\boxed{5}"),
    rollout(ITEMS[1], 3, "loop", tokens=[9] * 12),
    *(rollout(ITEMS[2], k, f"Answer: {letter}") for k, letter in enumerate("BBCB")),
]


def test_values_per_item():
    graded = grade_rollouts(ITEMS, ROLLOUTS, None)
    assert per_item(graded, "acc") == {"toy-bm4": {"a": 0.5, "b": 0.25}, "toy-csqa": {"c": 0.75}}
    assert per_item(graded, "maj16") == {"toy-bm4": {"a": 1.0, "b": 0.5}, "toy-csqa": {"c": 1.0}}
    assert per_item(graded, "pass16") == {"toy-bm4": {"a": 1.0, "b": 1.0}, "toy-csqa": {"c": 1.0}}


def test_equal_answers_vote_together():
    """7 and 7.0 are one answer: the majority counts them as two votes for the key."""
    graded = grade_rollouts(ITEMS, ROLLOUTS, None)
    assert [g.answer for g in graded[:2]] == ["7", "7"]


def test_failure_rates_stand_beside_accuracy():
    failures = failures_per_item(grade_rollouts(ITEMS, ROLLOUTS, None))["toy-bm4"]
    assert failures["unparsed"] == {"a": 0.25, "b": 0.5}
    assert failures["truncated"] == {"a": 0.25, "b": 0.0}
    assert failures["empty"] == {"a": 0.0, "b": 0.25}
    assert failures["repeating"] == {"a": 0.0, "b": 0.25}


def test_summary_means_are_over_items():
    summary = summarise(grade_rollouts(ITEMS, ROLLOUTS, None))
    assert summary["toy-bm4"]["acc"] == pytest.approx(0.375)
    assert summary["toy-bm4"]["items"] == 2
    assert summary["toy-bm4"]["completions_per_item"] == 4
    assert summary["toy-bm4"]["unparsed"] == pytest.approx(0.375)


def test_graded_completions_survive_the_file(tmp_path):
    graded = grade_rollouts(ITEMS, ROLLOUTS, None)
    write_graded(tmp_path / "g.parquet", graded)
    again = read_graded(tmp_path / "g.parquet")
    assert per_item(again, "acc") == per_item(graded, "acc")
    assert [g.rollout.token_ids for g in again] == [g.rollout.token_ids for g in graded]
    assert again[4].answer is None


def test_open_tasks_need_a_reward_model():
    with pytest.raises(InputError, match="toy-dolly is open-ended: name a reward model"):
        TaskReward(None)([Item("d", "toy-dolly", "describe", None)], ["text"])


def test_task_reward_is_correctness():
    assert TaskReward(None)(ITEMS[:2], [r"so \boxed{7}", "no answer"]) == [1.0, 0.0]
