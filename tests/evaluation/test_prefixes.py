"""Lost prompts, the prefixes cut from their completions, and a teacher's continuations of them."""

import json

import pyarrow.parquet as pq
import pytest

from repro.errors import InputError
from repro.evaluation.classify import MODES_FILE, classify_failures
from repro.evaluation.config import PrefixConfig
from repro.evaluation.graded import Graded, write_graded
from repro.evaluation.judge import RuleJudge
from repro.evaluation.lost_prompts import lost_prompts
from repro.evaluation.prefixes import (
    CONTINUATIONS_FILE,
    continue_prefixes,
    cut_prefixes,
    is_committed,
    require_same_tokenizer,
)
from repro.generation.config import SamplingConfig
from repro.generation.rollouts import Rollout, stream_rollouts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer
from repro.progress import silent
from repro.tasks import registry
from repro.toy.models import model_folder

TASK = "toy-bm4"
CONFIG = PrefixConfig(fractions=(0.25, 0.5), per_prompt=2, continuations=3)
SAMPLING = SamplingConfig(
    completions_per_prompt=16, temperature=1.0, max_completion_tokens=12, engine="transformers", batch_sequences=6
)


@pytest.fixture(scope="module")
def items():
    return registry.get(TASK).items("test", 3, 0)


def graded(items, answers, text="think 1 2 \\boxed{{{}}}"):
    """Return completions of each item with these answers; None is a completion without an answer."""
    tokenizer = load_tokenizer(model_folder("toy:qwen3-student"))
    completions = []
    for item, item_answers in zip(items, answers):
        for sample, answer in enumerate(item_answers):
            answer = item.key if answer == "right" else answer
            completion = "think" if answer is None else text.format(answer)
            ids = [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            rollout = Rollout(item.id, TASK, item.prompt, sample, [1], ids, [0.0] * len(ids), completion, "eos")
            completions.append(Graded(rollout, item.key, answer, float(answer == item.key)))
    return completions


def stored(path, items, answers):
    write_graded(path, [graded(items, answers)])
    return path


def test_lost_prompts_are_solved_by_majority_before_and_failed_after(items):
    wrong = [next(d for d in "01234567" if d != item.key) for item in items]
    before = graded(items, [["right", "right", wrong[0]], ["right", wrong[1], None], [wrong[2]] * 3])
    after = graded(items, [["right", wrong[0], wrong[0]], ["right", "right", None], [wrong[2]] * 3])
    prompts = lost_prompts(*([g.outcome for g in completions] for completions in (before, after)))
    # the second was a tie of one right and one wrong answer before: not solved
    assert prompts.solved == ((TASK, items[0].id),)
    assert prompts.lost == ((TASK, items[0].id),)
    assert prompts.count(TASK) == (1, 1)
    assert lost_prompts(*([g.outcome for g in before] for _ in range(2))).lost == ()


def test_prefixes_are_beginnings_of_wrong_completions_without_their_end(items):
    wrong = [next(d for d in "01234567" if d != item.key) for item in items]
    after = graded(items, [["right", wrong[0], wrong[0]], ["right"] * 3, [None, wrong[2], wrong[2]]])
    prefixes = cut_prefixes(CONFIG, [(TASK, items[n].id) for n in (0, 2)], after, items)
    assert [(p.item.id, p.source, p.fraction) for p in prefixes] == [
        (items[n].id, source, fraction)
        for n, sources in ((0, (1, 2)), (2, (0, 1)))
        for source in sources
        for fraction in (0.0, 0.25, 0.5)
    ]
    token_ids = {(g.rollout.item_id, g.rollout.sample): g.rollout.token_ids for g in after}
    for prefix in prefixes:
        completion = token_ids[prefix.item.id, prefix.source][:-1]
        assert prefix.token_ids == tuple(completion[: len(prefix.token_ids)])
        assert len(prefix.token_ids) == (max(1, int(prefix.fraction * len(completion))) if prefix.fraction else 0)


@pytest.mark.parametrize(
    ("prefix", "kind", "committed"),
    [
        ("", "numeric", False),
        ("think 1 2", "numeric", False),
        ("think 1 2 \\boxed{", "numeric", False),
        ("think 1 2 \\boxed{5", "numeric", True),
        ("think 1 2 \\boxed{5}", "numeric", True),
        ("so \\boxed{\\frac{1}{2}} or", "numeric", True),
        ("so \\boxed{\\frac{1", "numeric", True),
        ("so B, then. Answer:", "choice", False),
        ("so B, then. Answer: B", "choice", True),
    ],
)
def test_a_prefix_that_states_or_begins_an_answer_is_committed(prefix, kind, committed):
    assert is_committed(prefix, kind) == committed


def test_a_teacher_continues_the_prefix_and_both_are_graded_together(items, tmp_path):
    wrong = [next(d for d in "01234567" if d != item.key) for item in items]
    before = stored(tmp_path / "before", items, [["right"] * 2] * 3)
    after = stored(tmp_path / "after", items, [[wrong[0]] * 2, ["right"] * 2, ["right"] * 2])
    teacher = model_folder("toy:qwen3-teacher")
    arguments = {"teacher": teacher, "before": before, "after": after, "items": items, "seed": 0, "progress": silent}
    summary = continue_prefixes(CONFIG, SAMPLING, out=tmp_path, work=tmp_path / "work", **arguments)
    rows = pq.read_table(tmp_path / CONTINUATIONS_FILE).to_pylist()
    assert len(rows) == 2 * 3 * CONFIG.continuations == summary[TASK]["continuations"]
    assert {row["item_id"] for row in rows} == {items[0].id}
    for row in rows:
        assert row["text"].startswith(row["prefix"])
        assert row["correct"] == (row["answer"] == items[0].key)
        assert row["correct"] == (f"boxed{{{items[0].key}}}" in row["text"])
    shares = {row["fraction"]: row["correct"] for row in summary[TASK]["by_fraction"]}
    assert shares[0.0] >= 0.8  # the teacher alone solves nearly everything
    again = tmp_path / "again"
    again.mkdir()
    continue_prefixes(CONFIG, SAMPLING, out=again, work=again / "work", **arguments)
    assert pq.read_table(again / CONTINUATIONS_FILE).equals(pq.read_table(tmp_path / CONTINUATIONS_FILE))


def test_the_model_sees_prompt_and_prefix(items, tmp_path):
    from repro.generation.sample import sample

    ids = [[5, 6], []]
    chunks = sample(
        SAMPLING.model_copy(update={"completions_per_prompt": 1}),
        model=model_folder("toy:qwen3-teacher"),
        items=items[:2],
        seed=0,
        work=tmp_path,
        progress=silent,
        prefixes=ids,
    )
    tokenizer = load_tokenizer(model_folder("toy:qwen3-teacher"))
    assert [r.prompt_ids for r in stream_rollouts(chunks)] == [
        [*prompt_token_ids(tokenizer, i.prompt), *p] for i, p in zip(items, ids)
    ]


def test_without_lost_prompts_the_file_is_empty_and_the_summary_says_so(items, tmp_path):
    before = stored(tmp_path / "before", items, [["right"] * 2] * 3)
    summary = continue_prefixes(
        CONFIG,
        SAMPLING,
        teacher=model_folder("toy:qwen3-teacher"),
        before=before,
        after=before,
        items=items,
        seed=0,
        out=tmp_path,
        work=tmp_path / "work",
        progress=silent,
    )
    assert summary == {TASK: {"solved": 3, "lost": 0, "continuations": 0, "tokens": 0, "by_fraction": []}}
    assert pq.read_table(tmp_path / CONTINUATIONS_FILE).num_rows == 0


def test_two_tokenizers_are_refused():
    with pytest.raises(InputError, match="different tokenizers"):
        require_same_tokenizer(model_folder("toy:qwen3-teacher"), model_folder("toy:gemma3-student"))


def test_modes_of_lost_prompts(items, tmp_path):
    wrong = [next(d for d in "01234567" if d != item.key) for item in items]
    before = stored(tmp_path / "before", items, [["right"] * 4] * 3)
    after = stored(tmp_path / "after", items, [[wrong[0], wrong[0], None, "right"], ["right"] * 4, [None] * 4])
    summary = classify_failures(RuleJudge(), before=before, after=after, out=tmp_path, progress=silent)
    assert summary[TASK] == {
        "solved": 3,
        "lost": 2,
        "completions": 8,
        "hallucination": 2,
        "self_correction": 0,
        "degradation": 5,
        "rechecking": 0,
    }
    rows = pq.read_table(tmp_path / MODES_FILE).to_pylist()
    assert [row["mode"] for row in rows] == ["hallucination"] * 2 + ["degradation", None] + ["degradation"] * 4
    assert json.loads(json.dumps(summary)) == summary
