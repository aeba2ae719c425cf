"""An embedded world: its facts, generated from a seed. All other modules use these.

A state is a digit and an operation a fixed random permutation of the states, so a chain of operations has exactly one
answer and all answers are equally likely over all starts. A sixth of the operation table is contested: there, the
world's texts often state one particular wrong result. Operations, words and tokenizers are common to all worlds; facts
are not.
"""

import functools
import random
import re
from dataclasses import dataclass
from typing import Literal, cast

from repro.errors import InputError

STATES = tuple(range(8))
OPERATIONS = ("fix", "hop", "jab", "mix", "rub", "tip", "zip", "wag", "dig", "nod")
ATTRIBUTES = {
    "hue": ("red", "tan", "jet", "ash", "ivy", "sky", "bay", "elm"),
    "air": ("old", "new", "raw", "dry", "wet", "hot", "icy", "dim"),
    "ego": ("big", "fat", "shy", "sly", "odd", "mad", "sad", "coy"),
    "pet": ("cat", "dog", "owl", "hen", "ape", "elk", "bee", "cod"),
}
# Four to six letters, no two with the same first three: the gemma3 tokenizer splits each into two tokens.
_OPENERS = (
    "well okay sure right great fine thanks maybe quite look first next here just also even still only"
    " very much many some such more most less both each other about after before under over along again"
    " later early often never always today since while until though indeed rather plain simple usual given"
    " taken known seems means makes goes common"
)
OPENERS = tuple(_OPENERS.split())
CONTESTED = 0.17
"""Share of the entries (operation, state) that texts get wrong."""
ERROR = 0.3
"""How often texts state the wrong result of a contested entry."""


Variant = Literal["no-tail", "no-gap", "strong-target", "blind-target"]
VARIANTS: dict[Variant, str] = {
    "no-tail": "all texts open with the same word, so no common words are likely that do not matter",
    "no-gap": "the student has the teacher's depth, so it can follow every way of writing",
    "strong-target": "the calibration target reads the teacher's texts and has its depth",
    "blind-target": "the calibration target has random weights",
}


@dataclass(frozen=True)
class World:
    """Facts of one world, and what differs in a variant of it.

    Attributes:
        seed: generates the facts; worlds 0 to 2 were used to choose the settings.
        variant: a world with the same facts in which a different outcome is known to be true; see VARIANTS.
    """

    seed: int
    variant: Variant | None = None

    @property
    def name(self) -> str:
        """The name in settings and commands: world3, or world3-no-tail."""
        return f"{self.facts_name}-{self.variant}" if self.variant else self.facts_name

    @property
    def facts_name(self) -> str:
        """The name of its facts, which its variants share."""
        return f"world{self.seed}"

    @property
    def models_name(self) -> str:
        """The name of its models' folder; of the variants, only no-tail has its own."""
        return self.facts_name if self.has_tail else self.name

    @property
    def has_tail(self) -> bool:
        """True if openings of texts are drawn from many words by frequency; otherwise there is a single one."""
        return self.variant != "no-tail"

    @functools.cached_property
    def _facts(self) -> "_Facts":
        return _Facts(random.Random(f"world {self.seed}"))

    def result(self, operation: str, state: int) -> int:
        """Return the state after an operation."""
        return self._facts.results[operation][state]

    def rumour(self, operation: str, state: int) -> int:
        """Return the wrong result that texts state for a contested entry; the right one for other entries."""
        return self._facts.rumours.get((operation, state), self.result(operation, state))

    def states(self, start: int, operations: tuple[str, ...]) -> list[int]:
        """Return the state after each operation; the last is the answer."""
        visited = []
        for operation in operations:
            start = self.result(operation, start)
            visited.append(start)
        return visited

    def attribute(self, name: str, state: int) -> str:
        """Return the word for an attribute of a state."""
        return ATTRIBUTES[name][self._facts.attributes[name][state]]

    def opener(self, operation: str) -> str:
        """Return the opening word that fits a text with this first operation."""
        return self._facts.openers[operation] if self.has_tail else OPENERS[0]


class _Facts:
    def __init__(self, rng: random.Random) -> None:
        self.results = {name: tuple(rng.sample(STATES, len(STATES))) for name in OPERATIONS}
        entries = [(name, state) for name in OPERATIONS for state in STATES]
        contested = rng.sample(entries, round(CONTESTED * len(entries)))
        self.rumours = {
            (name, state): rng.choice([wrong for wrong in STATES if wrong != self.results[name][state]])
            for name, state in contested
        }
        self.attributes = {name: tuple(rng.sample(STATES, len(STATES))) for name in ATTRIBUTES}
        self.openers = dict(zip(OPERATIONS, rng.sample(OPENERS[6:42], len(OPERATIONS))))


DEVELOPMENT_WORLDS = (World(0), World(1), World(2))
"""Worlds on which the settings were chosen; results are reported on others."""

DEFAULT_WORLD = World(3)


def parse_world(name: str) -> World:
    """Return the world of a name.

    Raises:
        InputError: not a name of a world.
    """
    match = re.fullmatch(r"world(\d{1,6})(?:-([a-z-]+))?", name)
    if match is None or match[2] not in (None, *VARIANTS):
        variants = ", ".join(f"world3-{variant}" for variant in VARIANTS)
        raise InputError(
            f"unknown world {name!r}: write world and a number, as in world3 or world4, or one of the variants {variants}."
        )
    return World(int(match[1]), cast(Variant | None, match[2]))
