"""Grading of rollouts, per-item values and summaries."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from repro.errors import InputError
from repro.evaluation.evaluate import (
    evaluate,
    failures_per_item,
    grade_in_batches,
    metric_names,
    metric_per_item,
    summarise,
)
from repro.evaluation.graded import GRADED, Outcome, read_graded, read_outcomes
from repro.evaluation.task_reward import TaskReward
from repro.generation.rollouts import Rollout, write_rollouts
from repro.stages.artifact import count_undecided
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


@pytest.fixture
def stored(tmp_path):
    return tmp_path / "graded.parquet"


@pytest.fixture
def outcomes(tmp_path, stored) -> list[Outcome]:
    """Outcomes of two chunks."""
    chunks = [tmp_path / "first", tmp_path / "second"]
    for chunk, rollouts in zip(chunks, (ROLLOUTS[:5], ROLLOUTS[5:])):
        write_rollouts(chunk, rollouts)
    return evaluate(ITEMS, chunks, None, stored)


def test_values_per_item(outcomes):
    assert metric_per_item(outcomes, "acc") == {"toy-bm4": {"a": 0.5, "b": 0.25}, "toy-csqa": {"c": 0.75}}
    assert metric_per_item(outcomes, "maj4") == {"toy-bm4": {"a": 1.0, "b": 0.5}, "toy-csqa": {"c": 1.0}}
    assert metric_per_item(outcomes, "pass4") == {"toy-bm4": {"a": 1.0, "b": 1.0}, "toy-csqa": {"c": 1.0}}


def test_a_majority_has_the_name_of_its_completions(outcomes):
    """maj16 of four completions would be another number under its name."""
    with pytest.raises(ValueError, match="maj16 of 4 completions per item"):
        metric_per_item(outcomes, "maj16")
    assert metric_names("toy-bm4", 4) == ("acc", "maj4", "pass4")
    summary = summarise(outcomes)["toy-bm4"]
    assert {name for name in summary if name.startswith(("maj", "pass"))} == {"maj4", "pass4"}
    assert summary["completions_per_item"] == 4


def test_equal_answers_vote_together(outcomes):
    """7 and 7.0 are one answer: the majority counts them as two votes for the key."""
    assert [g.answer for g in outcomes[:2]] == ["7", "7"]


def test_failure_rates_per_item(outcomes):
    failures = failures_per_item(outcomes)["toy-bm4"]
    assert failures["unparsed"] == {"a": 0.25, "b": 0.5}
    assert failures["truncated"] == {"a": 0.25, "b": 0.0}
    assert failures["empty"] == {"a": 0.0, "b": 0.25}
    assert failures["repeating"] == {"a": 0.0, "b": 0.25}


def test_summary_means_are_over_items(outcomes):
    summary = summarise(outcomes)
    assert summary["toy-bm4"]["acc"] == pytest.approx(0.375)
    assert summary["toy-bm4"]["items"] == 2
    assert summary["toy-bm4"]["completions_per_item"] == 4
    assert summary["toy-bm4"]["unparsed"] == pytest.approx(0.375)


def test_answers_whose_grading_reached_a_limit_are_counted(tmp_path, stored, outcomes, caplog):
    assert all("undecided" not in task for task in summarise(outcomes).values())
    write_rollouts(tmp_path / "third", [rollout(ITEMS[0], 4, r"\boxed{9^{9^{9^9}}}")])
    more = evaluate(ITEMS, [tmp_path / name for name in ("first", "second", "third")], None, stored)
    assert "1 of 13 answers could not be graded within the limits" in caplog.text
    assert [outcome.undecided for outcome in read_outcomes(stored)] == [False] * 12 + [True]
    assert [graded.undecided for graded in read_graded(stored)] == [False] * 12 + [True]
    summary = summarise(more)
    assert summary["toy-bm4"]["undecided"] == count_undecided(summary) == 1
    assert "undecided" not in summary["toy-csqa"]


def test_graded_completions_are_read_as_written(stored, outcomes):
    assert read_outcomes(stored) == outcomes
    again = list(read_graded(stored))
    assert [g.rollout for g in again] == [replace(r, log_probs=g.rollout.log_probs) for r, g in zip(ROLLOUTS, again)]
    assert [g.outcome for g in again] == outcomes
    assert again[4].answer is None
    assert [g.prompt[1] for g in read_graded(stored, [("toy-csqa", "c")])] == ["c"] * 4


def test_outcomes_of_a_file_without_the_repetition_column_are_the_same(stored, outcomes, tmp_path):
    pq.write_table(pq.read_table(stored).drop_columns(["repeating", "undecided"]), tmp_path / "old.parquet")
    assert read_outcomes(tmp_path / "old.parquet") == outcomes
    assert [graded.outcome for graded in read_graded(tmp_path / "old.parquet")] == outcomes
    assert pq.read_schema(stored).remove_metadata() == GRADED


def test_open_tasks_are_scored_at_once_and_in_order(tmp_path, monkeypatch):
    """The reward model batches texts of similar length, so it must see the texts of all chunks together."""
    items = [Item("d", "toy-dolly", "say", None), ITEMS[0]]
    texts = ["one", "three", "two"]
    for k, text in enumerate(texts):
        write_rollouts(tmp_path / f"{k}", [rollout(items[1], k, r"\boxed{7}"), rollout(items[0], k, text)])
    calls = []

    def score(self, items, completions):
        calls.append(completions)
        return [len(text) / 10 for text in completions]

    monkeypatch.setattr(TaskReward, "__call__", score)
    graded = [g for batch in grade_in_batches(items, [tmp_path / f"{k}" for k in range(3)], None) for g in batch]
    assert calls == [texts]
    assert [(g.rollout.task, g.score) for g in graded] == [
        pair for text in texts for pair in (("toy-bm4", 1.0), ("toy-dolly", len(text) / 10))
    ]


def test_open_tasks_need_a_reward_model():
    with pytest.raises(InputError, match="toy-dolly is open-ended: name a reward model"):
        TaskReward(None)([Item("d", "toy-dolly", "describe", None)], ["text"])


def test_task_reward_is_correctness():
    assert TaskReward(None)(ITEMS[:2], [r"so \boxed{7}", "no answer"]) == [1.0, 0.0]
