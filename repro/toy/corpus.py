"""Pretraining corpus of a toy model: texts that answer training questions."""

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from repro.toy.pool import SHAPES, stream_training_questions
from repro.toy.questions import Habits, write
from repro.toy.world import World


@dataclass(frozen=True)
class Corpus:
    """What a model reads.

    Attributes:
        habits: of the writers.
        weights: relative frequency of each task; those not named do not occur.
        walks_first: texts at the beginning that have no leaps. A model of one layer cannot learn leaps, and among them it
            finds late, or not at all, where the operation of the next step stands.
    """

    habits: Habits
    weights: Mapping[str, float]
    walks_first: int = 0


EVERY_TASK = dict.fromkeys(SHAPES, 1.0)


def stream_pairs(world: World, corpus: Corpus, seed: int) -> Iterator[tuple[str, str]]:
    """Yield endless (prompt, completion) pairs, never of a test chain."""
    rng = random.Random(f"corpus {world.seed} {seed}")
    names, weights = list(corpus.weights), list(corpus.weights.values())
    streams = {name: stream_training_questions(world, name, rng) for name in names}
    walks = replace(corpus.habits, leaps=0.0)
    for number in itertools.count():
        question = next(streams[rng.choices(names, weights)[0]])
        yield question.prompt, write(world, question, walks if number < corpus.walks_first else corpus.habits, rng)
