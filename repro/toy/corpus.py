"""What a toy model reads in pretraining: right completions to training questions, phase after phase."""

import functools
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from repro.toy import facts
from repro.toy.pool import TASK_NAMES, chains, choices, questions
from repro.toy.questions import Letters, Question, Style

# The primers: questions that are no item of any task, from which what the tasks have in common is learnt.
PRIMERS = ("links", "pairs", "relations", "letters")
SHOWN = (5, 10)  # options in a choice


@dataclass(frozen=True)
class Phase:
    """A stretch of the corpus.

    Attributes:
        weights: how often each task or primer is read; what is not named is not read.
        worked: share of worked completions, the rest are direct.
        pairs: how long it lasts. The last phase has no end.
    """

    weights: Mapping[str, float]
    worked: float
    pairs: int = 0


Mix = Sequence[Phase]


def _letters() -> Iterator[Letters]:
    rng = random.Random(facts.SEED)
    for _ in range(6000):
        for shown in SHOWN:
            yield Letters(tuple(rng.sample(facts.PEOPLE, shown)), tuple(rng.sample(range(shown), shown)))


@functools.cache
def _pools() -> dict[str, tuple[Question, ...]]:
    held_out = {question.prompt for question in questions("toy-csqa", "test")}
    relations = [row for shown in SHOWN for row in choices(hops=1, options=shown, variants=20)]
    return {
        "links": tuple(chains(1)),
        "pairs": tuple(chains(2)),
        "relations": tuple(row for row in relations if row.prompt not in held_out),
        "letters": tuple(_letters()),
        **{name: questions(name, "train") for name in TASK_NAMES},
    }


def stream(mix: Mix, seed: int) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs; never a test question of any task."""
    rng = random.Random(seed)
    pools = _pools()
    for place, phase in enumerate(mix):
        names, weights = list(phase.weights), list(phase.weights.values())
        for _ in itertools.count() if place == len(mix) - 1 else range(phase.pairs):
            question = rng.choice(pools[rng.choices(names, weights)[0]])
            style: Style = "worked" if rng.random() < phase.worked else "direct"
            yield question.prompt, question.completion(style)
