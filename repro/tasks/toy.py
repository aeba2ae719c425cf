"""Seven toy tasks with the shapes of the paper's seven data sets. No torch here: recipes import this.

A question's split is a hash of its chain, so no seed, no option order and no sampling can move a test chain into
training: pretraining, calibration and distillation all draw from `questions("train")`.
"""

import functools
import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from repro.errors import InputError
from repro.tasks.task import Item, Kind, Split
from repro.toy import facts
from repro.toy.questions import Chain, Choice, Describe, Question

TEST_SHARE = 0.25


def _fraction(text: str) -> float:
    """A stable number in [0, 1) for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def split_of(name: str, question: Question) -> Split:
    """One-link chains are facts that a model must have seen, so there the whole prompt, options included, decides."""
    text = question.prompt if name == "toy-csqa" else question.chain
    return "test" if _fraction(f"{name}|{text}") < TEST_SHARE else "train"


def chains(length: int) -> Iterator[Chain]:
    """All chains of that many operations."""
    for start, names in itertools.product(facts.STATES, itertools.product(facts.OPERATIONS, repeat=length)):
        yield Chain(start, names)


def choices(hops: int, options: int, variants: int) -> Iterator[Choice]:
    """All questions of that many hops, each with `variants` draws of its options."""
    for start, *names in itertools.product(facts.PEOPLE, *[facts.RELATIONS] * hops):
        right = facts.people(start, tuple(names))[-1]
        wrong = [name for name in facts.PEOPLE if name != right]
        for variant in range(variants):
            rng = random.Random(f"{start} {names} {options} {variant}")
            shown = [right, *rng.sample(wrong, options - 1)]
            rng.shuffle(shown)
            yield Choice(start, tuple(names), tuple(shown))


def descriptions(hops: int) -> Iterator[Describe]:
    """All descriptions of a person that many hops away, each asking for two facts."""
    for start, *names in itertools.product(facts.PEOPLE, *[facts.RELATIONS] * hops):
        for asked in itertools.permutations(facts.RELATIONS, 2):
            yield Describe(start, tuple(names), asked)


@dataclass(frozen=True)
class ToyTask:
    """A task of the embedded world; implements `repro.tasks.task.Task`."""

    name: str
    kind: Kind

    def questions(self, split: Split) -> tuple[Question, ...]:
        """All questions of the split, in one fixed order."""
        return _pool(self.name)[split]

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """The first n items of the split in the order that the seed gives; all of them where it has fewer, or for None."""
        rows = list(self.questions(split))
        random.Random(f"{self.name} {split} {seed}").shuffle(rows)
        return [
            Item(f"{self.name}-{hashlib.sha256(row.prompt.encode()).hexdigest()[:10]}", self.name, row.prompt, row.key)
            for row in rows[:n]
        ]


_TASKS = {
    task.name: task
    for task in (
        ToyTask("toy-bm4", "numeric"),
        ToyTask("toy-bm5", "numeric"),
        ToyTask("toy-csqa", "choice"),
        ToyTask("toy-mmlu-pro", "choice"),
        ToyTask("toy-supergpqa", "choice"),
        ToyTask("toy-dolly", "open"),
        ToyTask("toy-vicuna", "open"),
    )
}
TASK_NAMES = tuple(_TASKS)


def _all(name: str) -> Iterator[Question]:
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
    for question in dict.fromkeys(_all(name)):  # two draws of options can agree
        rows[split_of(name, question)].append(question)
    return {split: tuple(questions) for split, questions in rows.items()}


def task(name: str) -> ToyTask:
    """The task of that name."""
    if name not in _TASKS:
        raise InputError(f"unknown toy task {name!r}: known are {', '.join(TASK_NAMES)}.")
    return _TASKS[name]
