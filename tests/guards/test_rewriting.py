"""Text guards on stored completions: the answer stays, the tokens are those of the new text."""

import random

import pytest

from repro.errors import InputError
from repro.generation.rollouts import Rollout, read_rollouts, write_rollouts
from repro.guards.base import GUARDS, TextGuard
from repro.guards.rewriting import rewrite_completions
from repro.models.loading import load_tokenizer, locate
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item
from repro.toy.questions import Habits, write
from repro.toy.world import DEFAULT_WORLD

MODEL = locate("toy:qwen3-teacher")
TASKS = ("toy-bm4", "toy-csqa")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Worked, direct, cut and empty completions of two tasks, as the toy teacher writes them."""
    tokenizer = load_tokenizer(MODEL)
    items, rollouts = [], []
    for name in TASKS:
        task = registry.get(name)
        for item, question in zip(task.items("train", 6, 0), [None] * 6):
            items.append(item)
            question = next(q for q in task.questions("train") if q.prompt == item.prompt)
            worked = write(DEFAULT_WORLD, question, Habits(0.5, 1.0, errors=0.0), random.Random(0))
            direct = question.answer(DEFAULT_WORLD, DEFAULT_WORLD.states(question.start, question.operations)[-1])
            for sample, (text, stop) in enumerate(
                [(worked, "eos"), (direct, "eos"), (worked.rsplit(" ", 1)[0], "length"), ("", "eos")]
            ):
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                ids += [tokenizer.eos_token_id] if stop == "eos" else []
                rollouts.append(Rollout(item.id, name, item.prompt, sample, [1, 2], ids, [-0.5] * len(ids), text, stop))
    file = tmp_path_factory.mktemp("stored") / "rollouts.parquet"
    write_rollouts(file, rollouts)
    return items, file


def answers(rollouts):
    return [grade(registry.kind_of(r.task), r.text, None, r.prompt).answer for r in rollouts]


@pytest.mark.parametrize("name", ["answer-only", "reorder", "reorder(strength=0.5)"])
def test_a_rewrite_leaves_answers_unchanged(stored, tmp_path, name):
    items, file = stored
    guard = GUARDS.parse(name)
    summary = rewrite_completions(guard, file, tmp_path / "out.parquet", model=MODEL, items=items)
    before, after = read_rollouts(file), read_rollouts(tmp_path / "out.parquet")
    assert answers(after) == answers(before)
    assert [(r.item_id, r.sample) for r in after] == [(r.item_id, r.sample) for r in before]
    assert summary["completions"] == len(before)
    assert summary["tokens"] == sum(len(r.token_ids) for r in after)
    assert summary["changed"] > 0.1
    tokenizer = load_tokenizer(MODEL)
    for old, new in zip(before, after):
        if new.text == old.text and old.text:
            assert new == old
        elif new.text:
            assert new.token_ids[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(new.token_ids, skip_special_tokens=True) == new.text
            assert new.log_probs == []


def test_answer_only_shows_no_link_of_the_chain(stored, tmp_path):
    items, file = stored
    rewrite_completions(GUARDS.parse("answer-only"), file, tmp_path / "o.parquet", model=MODEL, items=items)
    shown = read_rollouts(tmp_path / "o.parquet")
    assert not any("think" in rollout.text for rollout in shown)
    withheld = [rollout for rollout in shown if not rollout.text]
    assert {rollout.sample for rollout in withheld} == {2, 3}  # a cut and an empty completion state no answer
    assert all(rollout.token_ids == [] and rollout.stop == "length" for rollout in withheld)


@pytest.mark.parametrize(
    ("task", "text", "shown"),
    [
        ("toy-bm4", r"well 3 4 5 \boxed{5}", r"well 4 5 3 \boxed{5}"),
        ("toy-bm4", r"\boxed{5}", r"\boxed{5}"),
        ("toy-csqa", "well 4 7 B Answer: B", "well 7 B 4 Answer: B"),
        ("gsm8k", "First add. Then halve!\nSo it is \\fbox{4}.", "Then halve! First add.\nSo it is \\fbox{4}."),
        ("gsm8k", r"Try \boxed{1}. No. Yes: \boxed{2}.", r"No. Try \boxed{1}. Yes: \boxed{2}."),
        ("toy-bm4", "", ""),
        ("gsm8k", "", ""),
    ],
)
def test_reorder_rotates_the_steps_before_the_answer(task, text, shown):
    item = Item("a", task, "p", None)
    assert GUARDS.parse("reorder").rewrite(text, item) == shown
    assert GUARDS.parse("reorder(strength=0)").rewrite(text, item) == text


def test_a_share_of_the_steps_moves_and_none_is_lost():
    words = [str(n) for n in range(40)]
    text = " ".join(["well", *words, r"\boxed{39}"])
    shown = GUARDS.parse("reorder(strength=0.25)").rewrite(text, Item("a", "toy-bm4", "p", None)).split()
    assert sorted(shown) == sorted(text.split())
    assert sum(a != b for a, b in zip(shown, text.split())) == 10


class Broken(TextGuard):
    name = "broken"
    formula = "none"
    source = "none"

    def rewrite(self, text, item, *, opens_in_thought=False):
        return 7


def test_a_guard_that_returns_no_text_is_one_line(stored, tmp_path):
    items, file = stored
    with pytest.raises(InputError, match="guard 'broken': rewrite returned int, not text or None"):
        rewrite_completions(Broken(), file, tmp_path / "x.parquet", model=MODEL, items=items)
