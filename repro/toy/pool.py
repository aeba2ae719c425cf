"""Every question of the seven toy tasks, split into training and test. No torch here: recipes import this.

A question's split follows from a hash of its chain, so no seed, no order of options and no sampling can move a test chain
into training: pretraining, calibration and distillation all use `questions(name, "train")`.
"""

import functools
import hashlib
import itertools
import random
from collections.abc import Iterator
from typing import Literal

from repro.toy import facts
from repro.toy.questions import Chain, Choice, Describe, Question

Split = Literal["train", "test"]

TASK_NAMES = ("toy-bm4", "toy-bm5", "toy-csqa", "toy-mmlu-pro", "toy-supergpqa", "toy-dolly", "toy-vicuna")
TEST_SHARE = 0.25


def _fraction(text: str) -> float:
    """Return a stable number in [0, 1) for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def split_of(name: str, question: Question) -> Split:
    """Return the split of a question: by its chain, or by its prompt with all options for the one-link chains of toy-csqa.

    One-link chains are facts that a model must have seen.
    """
    text = question.prompt if name == "toy-csqa" else question.chain
    return "test" if _fraction(f"{name}|{text}") < TEST_SHARE else "train"


def chains(length: int) -> Iterator[Chain]:
    """Yield all chains of that many operations."""
    for start, names in itertools.product(facts.STATES, itertools.product(facts.OPERATIONS, repeat=length)):
        yield Chain(start, names)


def choices(hops: int, options: int, variants: int) -> Iterator[Choice]:
    """Yield all questions of that many hops, each with `variants` samples of its options."""
    for start, *names in itertools.product(facts.PEOPLE, *[facts.RELATIONS] * hops):
        right = facts.people(start, tuple(names))[-1]
        wrong = [name for name in facts.PEOPLE if name != right]
        for variant in range(variants):
            rng = random.Random(f"{start} {names} {options} {variant}")
            sampled = [right, *rng.sample(wrong, options - 1)]
            rng.shuffle(sampled)
            yield Choice(start, tuple(names), tuple(sampled))


def descriptions(hops: int) -> Iterator[Describe]:
    """Yield all descriptions of a person that many hops away, each asking for two facts."""
    for start, *names in itertools.product(facts.PEOPLE, *[facts.RELATIONS] * hops):
        for requested in itertools.permutations(facts.RELATIONS, 2):
            yield Describe(start, tuple(names), requested)


def _all_questions(name: str) -> Iterator[Question]:
    match name:
        case "toy-bm4":
            return chains(3)
        case "toy-bm5":
            return chains(4)
        case "toy-csqa":
            return choices(hops=1, options=5, variants=40)
        case "toy-mmlu-pro":
            return choices(hops=2, options=10, variants=10)
        case "toy-supergpqa":
            return choices(hops=3, options=10, variants=3)
        case "toy-dolly":
            return descriptions(1)
        case _:
            return descriptions(2)


@functools.cache
def _pool(name: str) -> dict[Split, tuple[Question, ...]]:
    rows: dict[Split, list[Question]] = {"train": [], "test": []}
    for question in dict.fromkeys(_all_questions(name)):  # two samples of options can be equal
        rows[split_of(name, question)].append(question)
    return {split: tuple(questions) for split, questions in rows.items()}


def questions(name: str, split: Split) -> tuple[Question, ...]:
    """Return all questions of a task's split, in a fixed order."""
    return _pool(name)[split]
