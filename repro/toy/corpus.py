"""Pretraining corpus of a toy model: right completions to training questions, in phases."""

import functools
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from repro.toy import facts
from repro.toy.pool import TASK_NAMES, chains, choices, questions
from repro.toy.questions import Letters, Question, Style

# Primers: questions that belong to no task and teach what the tasks have in common.
PRIMERS = ("links", "pairs", "relations", "letters")
OPTION_COUNTS = (5, 10)


@dataclass(frozen=True)
class Phase:
    """A stretch of the corpus.

    Attributes:
        weights: relative frequency of each task or primer; those not named do not occur.
        worked: share of worked completions; the others are direct.
        pairs: length of the phase. The last phase is endless.
    """

    weights: Mapping[str, float]
    worked: float
    pairs: int = 0


Mix = Sequence[Phase]


def _letters() -> Iterator[Letters]:
    rng = random.Random(facts.SEED)
    for _ in range(6000):
        for count in OPTION_COUNTS:
            yield Letters(tuple(rng.sample(facts.PEOPLE, count)), tuple(rng.sample(range(count), count)))


@functools.cache
def _pools() -> dict[str, tuple[Question, ...]]:
    held_out = {question.prompt for question in questions("toy-csqa", "test")}
    relations = [question for count in OPTION_COUNTS for question in choices(hops=1, options=count, variants=20)]
    return {
        "links": tuple(chains(1)),
        "pairs": tuple(chains(2)),
        "relations": tuple(question for question in relations if question.prompt not in held_out),
        "letters": tuple(_letters()),
        **{name: questions(name, "train") for name in TASK_NAMES},
    }


def stream_pairs(mix: Mix, seed: int) -> Iterator[tuple[str, str]]:
    """Yield endless (prompt, completion) pairs, never of a test question of any task."""
    rng = random.Random(seed)
    pools = _pools()
    for number, phase in enumerate(mix):
        names, weights = list(phase.weights), list(phase.weights.values())
        for _ in itertools.count() if number == len(mix) - 1 else range(phase.pairs):
            question = rng.choice(pools[rng.choices(names, weights)[0]])
            style: Style = "worked" if rng.random() < phase.worked else "direct"
            yield question.prompt, question.completion(style)
