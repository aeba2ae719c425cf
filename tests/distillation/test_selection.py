"""Which completions are selected and mixed: by majority, by length, by likelihood, without any key."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repro.distillation.config import SelectionConfig
from repro.distillation.selection import Source, mix_completions, select_completions
from repro.errors import InputError
from repro.generation.rollouts import Rollout, read_rollouts, write_rollouts
from repro.generation.scores import SCORES


def write(path, answers: dict[str, list[int | None]], task: str = "toy-bm4"):
    """A completion per answer (None: it states none); its length grows with its number."""
    rollouts = []
    for item, values in answers.items():
        for sample, value in enumerate(values):
            text = "think" if value is None else rf"think \boxed{{{value}}}"
            ids = list(range(sample + 1))
            rollouts.append(Rollout(item, task, "start 1", sample, [1], ids, [-1.0] * len(ids), text, "eos"))
    write_rollouts(path, rollouts)
    return Source(path)


def kept(path) -> list[tuple[str, int]]:
    return [(rollout.item_id, rollout.sample) for rollout in read_rollouts(path)]


def test_the_teachers_majority_decides_and_not_the_students(tmp_path):
    own = write(tmp_path / "own", {"a": [3, 3, 3, 5], "b": [1, None, 2], "c": [4, 4]})
    teacher = write(tmp_path / "teacher", {"a": [5, 5, 3], "b": [9], "c": [None, None]})
    summary = select_completions(SelectionConfig(rule="majority"), own, tmp_path / "out", voters=teacher)
    assert kept(tmp_path / "out") == [("a", 3)]
    assert summary == {"completions": 1, "of": 9, "prompts": 1, "prompts_without": 2, "tokens": 4}
    select_completions(SelectionConfig(rule="majority"), own, tmp_path / "own-out", voters=own, seed=1)
    assert [pair for pair in kept(tmp_path / "own-out") if pair[0] != "b"] == [
        *(("a", n) for n in range(3)),
        *(("c", n) for n in range(2)),
    ]


def test_a_tie_is_drawn_by_the_seed_and_no_answer_never_wins(tmp_path):
    own = write(tmp_path / "own", {f"item{n}": [1, 2, None, None, None] for n in range(200)})
    config = SelectionConfig(rule="majority")
    chosen = []
    for seed in (0, 0, 1):
        select_completions(config, own, tmp_path / "out", voters=own, seed=seed)
        chosen.append(kept(tmp_path / "out"))
    assert chosen[0] == chosen[1] != chosen[2]
    samples = [sample for _, sample in chosen[0]]
    assert len(samples) == 200
    assert set(samples) == {0, 1}
    assert 70 < sum(samples) < 130  # 5 standard deviations of a fair draw are 35


def test_equal_numbers_in_other_words_agree(tmp_path):
    own = write(tmp_path / "own", {"a": [7]})
    rollouts = read_rollouts(own.file)
    other = Rollout(**{**vars(rollouts[0]), "text": r"the answer is \boxed{7.0}", "sample": 1})
    write_rollouts(tmp_path / "both", [*rollouts, other])
    summary = select_completions(
        SelectionConfig(rule="majority"), Source(tmp_path / "both"), tmp_path / "out", voters=own
    )
    assert summary["completions"] == 2


def test_nothing_selected_is_one_line(tmp_path):
    own, teacher = write(tmp_path / "own", {"a": [3]}), write(tmp_path / "teacher", {"a": [None]})
    with pytest.raises(InputError, match=r"no completion is selected\. The rule majority needs completions that state"):
        select_completions(SelectionConfig(rule="majority"), own, tmp_path / "out", voters=teacher)


@pytest.mark.parametrize(("share", "expected"), [(0.5, [0, 1]), (0.1, [0]), (1.0, [0, 1, 2, 3])])
def test_the_shortest_share_of_each_prompt(tmp_path, share, expected):
    own = write(tmp_path / "own", {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]})
    select_completions(SelectionConfig(rule="shortest", share=share), own, tmp_path / "out")
    assert kept(tmp_path / "out") == [(item, n) for item in "ab" for n in expected]


def test_an_empty_completion_is_not_the_shortest(tmp_path):
    traces = write(tmp_path / "traces", {"a": [1, 2, 3]})
    rollouts = read_rollouts(traces.file)
    guarded = [
        replace(rollouts[0], text="", token_ids=[], log_probs=[]),
        *rollouts[1:],
    ]  # a guard that shows answers alone
    write_rollouts(traces.file, guarded)
    select_completions(SelectionConfig(rule="shortest", share=0.3), traces, tmp_path / "out")
    assert kept(tmp_path / "out") == [("a", 1)]


def test_the_likeliest_is_per_token_and_empty_ones_come_last(tmp_path):
    own = write(tmp_path / "own", {"a": [1, 2, 3, 4]})
    nats, tokens = [-3.0, -2.0, -3.0, 0.0], [1, 2, 3, 0]  # per token 3, 1, 1 and none
    table = {
        "task": ["toy-bm4"] * 4,
        "item_id": ["a"] * 4,
        "sample": range(4),
        "tokens": tokens,
        "log_prob": nats,
        "sampled_log_prob": [None] * 4,
    }
    pq.write_table(pa.table({name: list(column) for name, column in table.items()}, schema=SCORES), tmp_path / "scores")
    config = SelectionConfig(rule="likeliest", share=0.75)
    select_completions(config, own, tmp_path / "out", scores=tmp_path / "scores")
    assert kept(tmp_path / "out") == [("a", 0), ("a", 1), ("a", 2)]
    select_completions(SelectionConfig(rule="likeliest", share=0.5), own, tmp_path / "o2", scores=tmp_path / "scores")
    assert kept(tmp_path / "o2") == [("a", 1), ("a", 2)]


def test_a_share_of_the_prompts_comes_from_the_supplement(tmp_path):
    main = write(tmp_path / "main", {f"item{n}": [1, 1] for n in range(40)})
    other = write(tmp_path / "other", {f"item{n}": [2, 2, 2] for n in range(40)})
    summary = mix_completions(main.file, other.file, tmp_path / "out", share=0.25, seed=0)
    per_item: dict[str, list[str]] = {}
    for rollout in read_rollouts(tmp_path / "out"):
        per_item.setdefault(rollout.item_id, []).append(rollout.text)
    supplemented = [item for item, texts in per_item.items() if len(texts) == 3]
    assert len(supplemented) == summary["supplemented"] == 10
    assert len(per_item) == summary["prompts"] == 40
    assert all(len(set(texts)) == 1 for texts in per_item.values())
    assert summary["completions"] == 30 * 2 + 10 * 3
    mix_completions(main.file, other.file, tmp_path / "again", share=0.25, seed=0)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out").read_bytes()
