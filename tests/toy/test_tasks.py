"""The seven tasks: splits that cannot overlap, items that are stable, keys that the real grader accepts."""

import itertools
import random
import subprocess
import sys

import pytest

from repro.errors import InputError
from repro.tasks.grading import grade
from repro.tasks.toy import TASK_NAMES, get_task
from repro.toy.corpus import EVERY_TASK, Corpus, stream_pairs
from repro.toy.pool import SHAPES, sample_question, split_of
from repro.toy.questions import LEAP, OPENER_WEIGHTS, RECHECK, SLOTS, Habits, Question, write
from repro.toy.world import ATTRIBUTES, CONTESTED, DEFAULT_WORLD, OPENERS, OPERATIONS, STATES, World, parse_world

TRUE = Habits(leaps=0.5, fitting=1.0, errors=0.0)
VERIFIABLE = [name for name in TASK_NAMES if get_task(name).kind != "open"]


@pytest.mark.parametrize("name", TASK_NAMES)
def test_train_and_test_share_no_prompt_and_no_id(name: str) -> None:
    train, test = get_task(name).items("train", None, 0), get_task(name).items("test", None, 0)
    assert not {item.prompt for item in train} & {item.prompt for item in test}
    ids = [item.id for item in train + test]
    assert len(set(ids)) == len(ids)
    assert 0.15 < len(test) / len(ids) < 0.35


def test_no_chain_of_a_test_question_is_a_training_chain_of_any_task() -> None:
    chains = [
        {question.chain for name in TASK_NAMES for question in get_task(name).questions(split)}
        for split in ("train", "test")
    ]
    assert not chains[0] & chains[1]


def test_pretraining_never_reads_a_test_chain() -> None:
    held_out = {question.chain for name in TASK_NAMES for question in get_task(name).questions("test")}
    pairs = itertools.islice(stream_pairs(DEFAULT_WORLD, Corpus(TRUE, EVERY_TASK), seed=3), 4000)
    read = [prompt.split() for prompt, _ in pairs]
    chains = {" ".join(word for word in words if word in OPERATIONS or word.isdecimal()) for words in read}
    assert len(chains) > 3000
    assert not chains & held_out


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_seed_orders_items_and_n_is_a_prefix_of_that_order(name: str) -> None:
    all_items = get_task(name).items("test", None, 7)
    assert get_task(name).items("test", 20, 7) == all_items[:20]
    assert get_task(name).items("test", None, 8) != all_items
    assert {item.id for item in get_task(name).items("test", None, 8)} == {item.id for item in all_items}


@pytest.mark.parametrize("name", VERIFIABLE)
@pytest.mark.parametrize("habits", [TRUE, Habits(0.5, 0.0, rechecks=1.0, more_rechecks=0.5, errors=0.0)])
def test_walks_leaps_and_rechecks_state_the_right_answer(name: str, habits: Habits) -> None:
    rng = random.Random(0)
    texts = []
    for question in get_task(name).questions("test")[:50]:
        texts.append(write(DEFAULT_WORLD, question, habits, rng))
        assert grade(question.kind, texts[-1], question.key(DEFAULT_WORLD), question.prompt).correct
    assert sum(LEAP in text for text in texts) > 0
    assert all((RECHECK in text) == (habits.rechecks == 1) for text in texts)


def test_both_ways_have_the_same_words_but_for_the_first_state_of_a_pair() -> None:
    question = get_task("toy-bm5").questions("train")[0]
    walk, leap = (
        write(DEFAULT_WORLD, question, Habits(share, 1.0, errors=0.0), random.Random(0)).split() for share in (0, 1)
    )
    assert len(walk) == len(leap) == 1 + 6 + 1
    assert [(a, b) for a, b in zip(walk, leap) if a != b] == [(walk[n], LEAP) for n in (1, 3, 5)]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_errors_are_as_frequent_in_walks_as_in_leaps(share: float) -> None:
    rng = random.Random(1)
    rows = [sample_question(DEFAULT_WORLD, "toy-bm4", rng) for _ in range(4000)]
    texts = [write(DEFAULT_WORLD, row, Habits(share, 1.0), rng) for row in rows]
    right = sum(grade("numeric", text, row.key(DEFAULT_WORLD)).correct for text, row in zip(texts, rows)) / len(rows)
    assert 0.70 < right < 0.85


def test_operations_stand_at_a_constant_distance_from_the_completion() -> None:
    rng = random.Random(2)
    for name in TASK_NAMES:
        words = sample_question(DEFAULT_WORLD, name, rng).prompt.split()
        assert len(words) - words.index("start") == 2 + SLOTS


def test_keys_follow_from_the_facts() -> None:
    world = World(1)
    middle = world.result("fix", 3)
    end = world.result("hop", middle)
    assert world.states(3, ("fix", "hop")) == [middle, end]
    assert Question("numeric", 3, ("fix", "hop")).key(world) == str(end)
    options = (*(state for state in STATES if state != end), end)
    choice = Question("choice", 3, ("fix", "hop"), options)
    assert choice.key(world) == "H"
    assert choice.prompt.startswith(f"A{options[0]} B{options[1]} ")
    described = Question("open", 3, ("fix", "hop"), requested=("hue", "pet"))
    assert described.answer(world, end) == f"{world.attribute('hue', end)} {world.attribute('pet', end)}"


def test_worlds_differ_in_facts_and_repeat_themselves() -> None:
    tables = [[World(seed).result(name, state) for name in OPERATIONS for state in STATES] for seed in (0, 1, 0)]
    assert tables[0] == tables[2] != tables[1]
    rumours = [(name, s) for name in OPERATIONS for s in STATES if World(0).rumour(name, s) != World(0).result(name, s)]
    assert len(rumours) == round(CONTESTED * len(OPERATIONS) * len(STATES))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_and_attributes_are_permutations(name: str) -> None:
    assert {DEFAULT_WORLD.result(name, state) for state in STATES} == set(STATES)
    for attribute, words in ATTRIBUTES.items():
        assert {DEFAULT_WORLD.attribute(attribute, state) for state in STATES} == set(words)


def test_the_twin_world_has_the_same_facts_and_a_single_opening_word() -> None:
    world, twin = World(0), parse_world("world0-no-tail")
    assert twin == World(0, "no-tail")
    assert (world.facts_name, twin.facts_name) == ("world0", "world0")
    rng = random.Random(3)
    rows = [sample_question(world, "toy-bm4", rng) for _ in range(300)]
    assert [row.key(world) for row in rows] == [row.key(twin) for row in rows]
    openings = [{write(w, row, Habits(0.5, 0.0), rng).split()[0] for row in rows} for w in (world, twin)]
    assert len(openings[0]) > 40
    assert openings[1] == {OPENERS[0]}


def test_frequent_opening_words_stay_in_the_tail() -> None:
    assert sum(OPENER_WEIGHTS[10:]) / sum(OPENER_WEIGHTS) > 0.5


@pytest.mark.parametrize("name", ["", "world", "world-1", "3", "world3-tail", "world3-"])
def test_an_unknown_world_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match="world3-no-tail"):
        parse_world(name)


def test_an_unknown_name_is_an_input_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="toy-bm4"):
        get_task("toy-bm6")


def test_more_items_than_exist_gives_all() -> None:
    assert len(get_task("toy-csqa").items("test", 10**6, 0)) == len(get_task("toy-csqa").questions("test"))


def test_the_split_follows_the_chain_alone() -> None:
    row = get_task("toy-csqa").questions("test")[0]
    assert split_of(Question("numeric", row.start, row.operations)) == "test"
    assert set(SHAPES) == set(TASK_NAMES)


def test_listing_tasks_imports_no_torch() -> None:
    code = "import repro.tasks.toy, repro.toy.models, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
