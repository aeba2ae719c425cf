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
from repro.evaluation.prefix_cuts import cut_prefixes, is_committed
from repro.evaluation.prefixes import CONTINUATIONS_FILE, continue_prefixes, require_same_tokenizer
from repro.generation.config import SamplingConfig
from repro.generation.rollouts import Rollout, stream_rollouts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer
from repro.progress import silent
from repro.tasks import registry
from repro.toy.models import model_folder

TASK = "toy-bm4"
CONFIG = PrefixConfig(fractions=(0.25, 0.5), min_tokens=1, per_prompt=2, continuations=3)
SAMPLING = SamplingConfig(
    completions_per_prompt=16, temperature=1.0, max_completion_tokens=12, engine="transformers", batch_sequences=6
)


@pytest.fixture(scope="module")
def items():
    return registry.get(TASK).items("test", 3, 0)


def graded(items, answers, text="well 1 2 \\boxed{{{}}}"):
    """Return completions of each item with these answers; None is a completion without an answer."""
    tokenizer = load_tokenizer(model_folder("toy:qwen3-student"))
    completions = []
    for item, item_answers in zip(items, answers):
        for sample, answer in enumerate(item_answers):
            answer = item.key if answer == "right" else answer
            completion = "well" if answer is None else text.format(answer)
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
    prefixes = cut_prefixes(CONFIG, [(TASK, items[n].id) for n in (0, 2)], after, items, decode)
    assert [(p.item.id, p.source, p.fraction) for p in prefixes] == [
        (items[n].id, source, fraction)
        for n, sources in ((0, (1, 2)), (2, (0, 1)))
        for source in sources
        for fraction in (0.0, 0.25, 0.5)
        if (n, source) != (2, 0) or not fraction  # one token: neither its quarter nor its half is one
    ]
    token_ids = {(g.rollout.item_id, g.rollout.sample): g.rollout.token_ids for g in after}
    for prefix in prefixes:
        completion = token_ids[prefix.item.id, prefix.source][:-1]
        assert prefix.token_ids == tuple(completion[: len(prefix.token_ids)])
        assert len(prefix.token_ids) == int(prefix.fraction * len(completion))


def decode(ids):
    """Decode token ids that are code points."""
    return "".join(map(chr, ids))


def written(item, text, answer, sample=0):
    """Return a completion whose tokens are the code points of its text, with an end token."""
    ids = [*map(ord, text), 0]
    rollout = Rollout(item.id, TASK, item.prompt, sample, [1], ids, [0.0] * len(ids), text, "eos")
    return Graded(rollout, item.key, answer, float(answer == item.key))


FLIPPED = "We get 1 2, so it is {0}. Wait, let me verify: hmm, no. Then \\boxed{{{1}}}"


def test_the_papers_prefix_ends_before_the_recheck_that_flipped_a_correct_answer(items):
    """Such a completion used to be cut at 24, 49 and 74 of 100 tokens, whatever it said where."""
    item = items[0]
    wrong = next(d for d in "34567" if d != item.key)
    before_recheck = f"We get 1 2, so it is {item.key}. "
    after = [
        written(item, FLIPPED.format(item.key, wrong), wrong),
        written(item, FLIPPED.format(wrong, wrong), wrong, sample=1),  # never was right
        written(item, FLIPPED.format(item.key, item.key), item.key, sample=2),  # came back to it
        written(item, f"It is {item.key}. Wait, wait, wait", None, sample=3),  # concluded nothing
        written(item, f"It is \\boxed{{{wrong}}}", wrong, sample=4),  # no re-check
    ]
    config = CONFIG.model_copy(update={"per_prompt": 4})
    prefixes = cut_prefixes(config, [(TASK, item.id)], after, items, decode)
    (found,) = [prefix for prefix in prefixes if prefix.cut == "re-check"]
    assert (found.source, decode(found.token_ids)) == (0, before_recheck)
    assert found.fraction == pytest.approx(len(before_recheck) / len(after[0].rollout.text))
    too_short = config.model_copy(update={"min_tokens": len(before_recheck) + 1})
    assert not [p for p in cut_prefixes(too_short, [(TASK, item.id)], after, items, decode) if p.cut == "re-check"]


def test_half_a_character_is_no_prefix(items):
    """A token may hold a part of a character: its text then is no beginning of the completion's."""
    text = f"So {items[0].key}. Wait, no: \\boxed{{9}}"
    graded_ = written(items[0], text, "9")
    halves = dict(enumerate(graded_.rollout.token_ids[:-1]))

    def decode_halves(ids):
        text = decode(ids)
        return text[:-1] + "\ufffd" if len(ids) in (6, 7) and len(halves) > 7 else text

    prefixes = cut_prefixes(CONFIG, [(TASK, items[0].id)], [graded_], items, decode_halves)
    (found,) = [prefix for prefix in prefixes if prefix.cut == "re-check"]
    assert decode(found.token_ids) == text[:5]


def test_one_token_is_no_prefix(items):
    """A misled toy completion is a box, a digit and a brace: its quarter and half were the one token that opens the box."""
    wrong = [next(d for d in "01234567" if d != item.key) for item in items]
    after = graded(items, [[digit] * 2 for digit in wrong], text=" \\boxed{{{}}}")
    assert {len(g.rollout.token_ids) - 1 for g in after} == {3}
    config = CONFIG.model_copy(update={"min_tokens": 3, "fractions": (0.25, 0.5, 0.75)})
    prefixes = cut_prefixes(config, [(TASK, item.id) for item in items], after, items, decode)
    assert {prefix.fraction for prefix in prefixes} == {0.0}


def test_a_teacher_goes_on_from_before_the_recheck(items, tmp_path):
    item, tokenizer = items[0], load_tokenizer(model_folder("toy:qwen3-student"))
    wrong = next(d for d in "01234567" if d != item.key)
    thought = f"well 1 2 {item.key}"
    ids = [
        *tokenizer(thought, add_special_tokens=False)["input_ids"],
        *tokenizer(f"\\boxed{{{wrong}}}", add_special_tokens=False)["input_ids"],
        tokenizer.eos_token_id,
    ]
    text = f"{thought} Wait, \\boxed{{{wrong}}}"
    rollouts = [Rollout(item.id, TASK, item.prompt, n, [1], ids, [0.0] * len(ids), text, "eos") for n in range(2)]
    write_graded(tmp_path / "after", [[Graded(rollout, item.key, wrong, 0.0) for rollout in rollouts]])
    summary = continue_prefixes(
        CONFIG,
        SAMPLING,
        teacher=model_folder("toy:qwen3-teacher"),
        before=stored(tmp_path / "before", items[:1], [["right"] * 2]),
        after=tmp_path / "after",
        items=items[:1],
        seed=0,
        out=tmp_path,
        work=tmp_path / "work",
        progress=silent,
    )
    rows = [row for row in pq.read_table(tmp_path / CONTINUATIONS_FILE).to_pylist() if row["cut"] == "re-check"]
    assert {row["prefix"] for row in rows} == {thought}
    assert len(rows) == 2 * CONFIG.continuations
    assert summary[TASK]["before_recheck"]["prefixes"] == 2
    assert summary[TASK]["before_recheck"]["correct"] == sum(row["correct"] for row in rows) / len(rows)
    assert summary[TASK]["before_recheck"]["prefix_tokens"] == 4


@pytest.mark.parametrize(
    ("prefix", "kind", "committed"),
    [
        ("", "numeric", False),
        ("well 1 2", "numeric", False),
        ("well 1 2 \\boxed{", "numeric", False),
        ("well 1 2 \\boxed{5", "numeric", True),
        ("well 1 2 \\boxed{5}", "numeric", True),
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
    assert {row["cut"] for row in rows} == {"share"}
    assert {row["item_id"] for row in rows} == {items[0].id}
    for row in rows:
        assert row["text"].startswith(row["prefix"])
        assert row["correct"] == (row["answer"] == items[0].key)
        assert row["correct"] == (f"boxed{{{items[0].key}}}" in row["text"])
    shares = {row["fraction"]: row["correct"] for row in summary[TASK]["by_fraction"]}
    assert shares[0.0] > 0  # the teacher alone solves three questions in four
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
    nothing = {"prefixes": 0, "correct": None, "committed": None, "prefix_tokens": None}
    counts = {"solved": 3, "lost": 0, "continuations": 0, "tokens": 0}
    assert summary == {TASK: {**counts, "by_fraction": [], "before_recheck": nothing}}
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
