"""What a toy model reads in pretraining: right completions to training questions, in a stated mix of styles."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from repro.toy.questions import Question, Style
from repro.toy.tasks import TASK_NAMES, chains, choices, task

# How often each task is read by default, and how many lookups its answer takes: links of the chain, and one more to find the
# option or the fact that is asked.
WEIGHTS = {
    "toy-bm4": 3.0,
    "toy-bm5": 5.0,
    "toy-csqa": 0.4,
    "toy-mmlu-pro": 0.1,
    "toy-supergpqa": 0.1,
    "toy-dolly": 0.4,
    "toy-vicuna": 0.4,
}
LOOKUPS = {
    "toy-bm4": 3,
    "toy-bm5": 4,
    "toy-csqa": 2,
    "toy-mmlu-pro": 3,
    "toy-supergpqa": 4,
    "toy-dolly": 2,
    "toy-vicuna": 3,
}
_SHALLOW, _DEEP = 2, 4
_STAGES = _DEEP - _SHALLOW + 1


@dataclass(frozen=True)
class Mix:
    """The corpus of one model.

    Attributes:
        worked: share of worked completions, the rest are direct.
        primer: share of short chains (1 and 2 links), which are no item of any task.
        curriculum: over this many pairs, in three equal parts, the deepest lookup grows from 2 to 4. Direct answers
            to deep chains are learnt from direct answers to shallower ones; all at once, they stay at chance for long.
        early_worked: share of worked completions during the curriculum: what is hard to learn comes first.
        weights: how often each task is read.
    """

    worked: float
    primer: float
    curriculum: int
    early_worked: float = 0.1
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)


def _primers() -> list[Question]:
    held_out = {question.prompt for question in task("toy-csqa").questions("test")}
    facts = [row for row in choices(hops=1, options=10, variants=6) if row.prompt not in held_out]
    return [*chains(1), *facts, *[row for row in chains(2) for _ in range(4)]]


def stream(mix: Mix, seed: int) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs; never a test question of any task."""
    rng = random.Random(seed)
    primers = _primers()
    pools = {name: task(name).questions("train") for name in TASK_NAMES}
    read = 0
    while True:
        learning = read < mix.curriculum
        depth = _SHALLOW + read * _STAGES // mix.curriculum if learning else _DEEP
        names = [name for name in TASK_NAMES if LOOKUPS[name] <= depth]
        primer = mix.primer if depth > _SHALLOW else max(mix.primer, 0.8)
        if rng.random() < primer:
            question = rng.choice(primers)
        else:
            question = rng.choice(pools[rng.choices(names, [mix.weights[name] for name in names])[0]])
        worked = mix.early_worked if learning else mix.worked
        style: Style = "worked" if rng.random() < worked else "direct"
        read += 1
        yield question.prompt, question.completion(style)
