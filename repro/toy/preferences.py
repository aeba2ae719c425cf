"""Preference pairs of answers to open questions; good answers state requested, true, non-repeated attributes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from repro.toy.pool import SHAPES, Split, sample_question, split_of
from repro.toy.questions import LEAP, Question, write_pair
from repro.toy.world import ATTRIBUTES, OPENERS, STATES, World

OPEN_TASKS = tuple(name for name, shape in SHAPES.items() if shape.kind == "open")
_CHAIN_WORDS = {LEAP, *map(str, STATES)}


def score_text(world: World, question: Question, text: str) -> float:
    """Score a text in 0..1.

    The number of requested attributes stated correctly and in order, minus the words that are false, not requested or
    repeated, as a share of the requested attributes. The answer begins after the last word of the chain.
    """
    words = text.split()
    ends = [index for index, word in enumerate(words) if word in _CHAIN_WORDS]
    stated = words[ends[-1] + 1 :] if ends else words[1:]
    state = world.states(question.start, question.operations)[-1]
    wanted = [world.attribute(name, state) for name in question.requested]
    right = sum(word == expected for word, expected in zip(stated, wanted))
    return max(0, right - (len(stated) - right)) / len(wanted)


def _write_with_faults(world: World, question: Question, rng: random.Random) -> str:
    """Return a text with up to two faults in its chain and answer; a third of the texts are drawn with none."""
    faults = rng.choices(
        ["step", "attribute", "drop", "repeat", "unrequested"], [6, 2, 1, 1, 1], k=rng.choice([0, 1, 2])
    )
    state, visited = question.start, []
    wrong_steps = {rng.randrange(len(question.operations)) for fault in faults if fault == "step"}
    for step, operation in enumerate(question.operations):
        right = world.result(operation, state)
        state = rng.choice([wrong for wrong in STATES if wrong != right]) if step in wrong_steps else right
        visited.append(state)
    answer = [world.attribute(name, state) for name in question.requested]
    for fault in faults:
        match fault:
            case "attribute" if answer:
                answer[rng.randrange(len(answer))] = rng.choice(ATTRIBUTES[rng.choice(tuple(ATTRIBUTES))])
            case "drop" if answer:
                answer.pop()
            case "repeat" if answer:
                answer.append(rng.choice(answer))
            case "unrequested":
                answer.append(world.attribute(rng.choice(tuple(ATTRIBUTES)), state))
    words = [rng.choice(OPENERS)]
    for index in range(0, len(visited), 2):
        words += write_pair(visited[index : index + 2], rng.random() < 0.5)
    return " ".join([*words, *answer])


@dataclass(frozen=True)
class Preference:
    """Two texts that answer an open question, a better and a worse one."""

    question: Question
    better: str
    worse: str


def preference_pairs(world: World, split: Split, seed: int) -> Iterator[Preference]:
    """Yield endless preferences over open questions of a split."""
    rng = random.Random(f"preferences {world.seed} {split} {seed}")
    while True:
        question = sample_question(world, rng.choice(OPEN_TASKS), rng)
        if split_of(question) != split:
            continue
        first, second = (_write_with_faults(world, question, rng) for _ in range(2))
        difference = score_text(world, question, first) - score_text(world, question, second)
        if difference > 0:
            yield Preference(question, first, second)
        elif difference < 0:
            yield Preference(question, second, first)


def check_words(world: World, question: Question, text: str) -> list[bool | None]:
    """Return for each word of such a text whether it follows from the words before it; None for words without content.

    A state must follow from the previous state by the operations in between, an attribute from the last state.
    """
    words = text.split()
    ends_at = 1 + len(question.operations)
    checks: list[bool | None] = [None] * len(words)
    state, done = question.start, 0
    for index, word in enumerate(words[1:ends_at], 1):
        if word == LEAP:
            continue
        checks[index] = int(word) == world.states(state, question.operations[done:index])[-1]
        state, done = int(word), index
    requested = [world.attribute(name, state) for name in question.requested]
    for position, word in enumerate(words[ends_at:]):
        checks[ends_at + position] = position < len(requested) and word == requested[position]
    return checks
