"""The seven tasks: splits that cannot overlap, items that are stable, keys that the real grader accepts."""

import itertools
import subprocess
import sys

import pytest

from repro.errors import InputError
from repro.tasks.grading import grade
from repro.tasks.toy import TASK_NAMES, get_task
from repro.toy import facts
from repro.toy.corpus import PRIMERS, Phase, stream_pairs
from repro.toy.questions import OPENING, Chain, Choice, Describe, Letters


@pytest.mark.parametrize("name", TASK_NAMES)
def test_train_and_test_share_no_prompt_and_no_id(name: str) -> None:
    train, test = get_task(name).items("train", None, 0), get_task(name).items("test", None, 0)
    assert not {item.prompt for item in train} & {item.prompt for item in test}
    ids = [item.id for item in train + test]
    assert len(set(ids)) == len(ids)
    assert 0.15 < len(test) / len(ids) < 0.35


@pytest.mark.parametrize("name", ["toy-bm4", "toy-bm5", "toy-mmlu-pro", "toy-supergpqa"])
def test_no_chain_of_a_test_question_is_a_training_chain_with_other_options(name: str) -> None:
    chains = [{question.chain for question in get_task(name).questions(split)} for split in ("train", "test")]
    assert not chains[0] & chains[1]


def test_pretraining_never_reads_a_test_question() -> None:
    held_out = {question.prompt for name in TASK_NAMES for question in get_task(name).questions("test")}
    everything = Phase(dict.fromkeys([*PRIMERS, *TASK_NAMES], 1.0), worked=0.5)
    read = {prompt for prompt, _ in itertools.islice(stream_pairs([everything], seed=3), 20_000)}
    assert len(read) > 4000
    assert not read & held_out


def test_phases_follow_each_other_and_the_last_is_endless() -> None:
    mix = [Phase({"links": 1.0}, worked=0.0, pairs=30), Phase({"toy-bm5": 1.0}, worked=1.0)]
    pairs = list(itertools.islice(stream_pairs(mix, seed=0), 200))
    assert {len(prompt.split()) for prompt, _ in pairs[:30]} == {3}
    assert {len(prompt.split()) for prompt, _ in pairs[30:]} == {6}
    assert [text.startswith(OPENING) for _, text in pairs] == [False] * 30 + [True] * 170


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_seed_orders_items_and_n_is_a_prefix_of_that_order(name: str) -> None:
    all_items = get_task(name).items("test", None, 7)
    assert get_task(name).items("test", 20, 7) == all_items[:20]
    assert get_task(name).items("test", None, 8) != all_items
    assert {item.id for item in get_task(name).items("test", None, 8)} == {item.id for item in all_items}


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if get_task(name).kind != "open"])
@pytest.mark.parametrize("style", ["worked", "direct"])
def test_both_styles_state_the_right_answer(name: str, style: str) -> None:
    for question in get_task(name).questions("test")[:50]:
        text = question.completion(style)  # type: ignore[arg-type]
        assert text.startswith(OPENING) == (style == "worked")
        assert grade(get_task(name).kind, text, question.key).correct


def test_keys_follow_from_the_facts() -> None:
    after = facts.states(3, ("swap", "fold", "swap"))
    assert after[1] == facts.states(after[0], ("fold",))[0]
    assert Chain(3, ("swap", "fold", "swap")).key == str(facts.states(after[1], ("swap",))[0])
    friend = facts.people("nora", ("friend",))[0]
    boss = facts.people(friend, ("boss",))[0]
    options = tuple(name for name in facts.PEOPLE if name != boss)[:3]
    assert Choice("nora", ("friend", "boss"), (*options, boss)).key == "D"
    assert Describe("nora", ("friend",), ("boss",)).sentences == [f"boss is {boss}."]


def test_the_letter_follows_its_name_and_a_worked_choice_writes_it_after_the_last_link() -> None:
    options = tuple(sorted(facts.PEOPLE))[:5]
    assert Letters(options, (1,)).completion("direct") == f"{OPENING} {options[1]} B"
    assert Choice("nora", ("boss",), options).prompt.endswith(f"{options[4]} E")
    boss = facts.people("nora", ("boss",))[0]
    assert Choice("nora", ("boss",), (boss, "omar")).completion("worked") == f"{OPENING} {boss} A Answer: A"


@pytest.mark.parametrize("name", facts.OPERATIONS)
def test_operations_are_permutations(name: str) -> None:
    assert {facts.states(state, (name,))[0] for state in facts.STATES} == set(facts.STATES)


def test_an_unknown_name_is_an_input_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="toy-bm4"):
        get_task("toy-bm6")


def test_more_items_than_exist_gives_all() -> None:
    assert len(get_task("toy-csqa").items("test", 10**6, 0)) == len(get_task("toy-csqa").questions("test"))


def test_listing_tasks_imports_no_torch() -> None:
    code = "import repro.tasks.toy, repro.toy.models, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
