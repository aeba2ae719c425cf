"""Pretraining corpus of a toy model: texts that answer training questions."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repro.toy.pool import SHAPES, stream_training_questions
from repro.toy.questions import Habits, write
from repro.toy.world import World


@dataclass(frozen=True)
class Corpus:
    """What a model is pretrained on.

    Attributes:
        habits: how the writers write.
        weights: relative frequency of each task; tasks not named do not occur.
    """

    habits: Habits
    weights: Mapping[str, float]


EVERY_TASK = dict.fromkeys(SHAPES, 1.0)


def stream_pairs(world: World, corpus: Corpus, seed: int) -> Iterator[tuple[str, str]]:
    """Yield endless (prompt, completion) pairs, never with a test chain."""
    rng = random.Random(f"corpus {world.seed} {seed}")
    names, weights = list(corpus.weights), list(corpus.weights.values())
    streams = {name: stream_training_questions(world, name, rng) for name in names}
    while True:
        question = next(streams[rng.choices(names, weights)[0]])
        yield question.prompt, write(world, question, corpus.habits, rng)
