"""The questions of the seven toy tasks, split into training and test. No torch here: recipes import this.

A question's split depends only on a hash of its chain, so no task, seed, options or sampling can move a test chain into
training: pretraining, calibration and distillation all use `questions(name, "train")` or `sample_question`.
"""

import functools
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from repro.toy.questions import Kind, Question
from repro.toy.world import ATTRIBUTES, OPERATIONS, STATES, World

Split = Literal["train", "test"]
TEST_SHARE = 0.25
POOL = 2000
"""Questions per task, both splits together."""


@dataclass(frozen=True)
class Shape:
    """What a task's questions have in common: chain length, number of options, number of requested attributes."""

    kind: Kind
    operations: int
    options: int = 0
    requested: int = 0


SHAPES = {
    "toy-bm4": Shape("numeric", 4),
    "toy-bm5": Shape("numeric", 6),
    "toy-csqa": Shape("choice", 4, options=5),
    "toy-mmlu-pro": Shape("choice", 4, options=8),
    "toy-supergpqa": Shape("choice", 6, options=8),
    "toy-dolly": Shape("open", 4, requested=2),
    "toy-vicuna": Shape("open", 4, requested=3),
}
TASK_NAMES = tuple(SHAPES)


def split_of(question: Question) -> Split:
    """Return the split of a question, by its chain."""
    fraction = int.from_bytes(hashlib.sha256(question.chain.encode()).digest()[:6]) / 2**48
    return "test" if fraction < TEST_SHARE else "train"


def sample_question(world: World, name: str, rng: random.Random) -> Question:
    """Return a random question of a task, of either split."""
    shape = SHAPES[name]
    start, operations = rng.choice(STATES), tuple(rng.choices(OPERATIONS, k=shape.operations))
    options: list[int] = []
    if shape.options:
        right = world.states(start, operations)[-1]
        options = [right, *rng.sample([state for state in STATES if state != right], shape.options - 1)]
        rng.shuffle(options)
    requested = rng.sample(tuple(ATTRIBUTES), shape.requested)
    return Question(shape.kind, start, operations, tuple(options), tuple(requested))


def stream_training_questions(world: World, name: str, rng: random.Random) -> Iterator[Question]:
    """Yield endless random questions of the training split."""
    while True:
        question = sample_question(world, name, rng)
        if split_of(question) == "train":
            yield question


@functools.cache
def _pool(world: World, name: str) -> dict[Split, tuple[Question, ...]]:
    rng = random.Random(f"{name} {world.seed}")
    rows: dict[Split, list[Question]] = {"train": [], "test": []}
    for question in dict.fromkeys(sample_question(world, name, rng) for _ in range(POOL)):
        rows[split_of(question)].append(question)
    return {split: tuple(questions) for split, questions in rows.items()}


def questions(world: World, name: str, split: Split) -> tuple[Question, ...]:
    """Return all questions of a task's split, in a fixed order."""
    return _pool(world, name)[split]
