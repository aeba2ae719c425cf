r"""The three kinds of question and the texts that answer them.

A text opens with a word, follows the chain of operations in pairs and states the answer. A pair is written as a walk
(`a b`: both states) or a leap (`hm b`: the state after both): equally long, but a leap takes two look-ups in one step.
Options come before the chain, and the chain has the same number of slots in every question, so that a one-layer model
can find each operation at a constant distance.
"""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from repro.toy.world import ERROR, OPENERS, World

Kind = Literal["numeric", "choice", "open"]
SLOTS = 8
LEAP = "hm"
RECHECK = "wait"
END_OF_CHAIN: dict[Kind, str] = {"numeric": ".", "choice": "?", "open": "!"}
OPENER_WEIGHTS = [(rank + 3) ** -0.6 for rank in range(len(OPENERS))]


@dataclass(frozen=True)
class Question:
    """A chain of an even number of operations, and what is asked of the state at its end.

    Attributes:
        options: the states to choose from; the first has letter A.
        requested: the attributes that the answer must state.
    """

    kind: Kind
    start: int
    operations: tuple[str, ...]
    options: tuple[int, ...] = ()
    requested: tuple[str, ...] = ()

    @property
    def chain(self) -> str:
        """The part that determines the answer; all questions with the same chain belong to the same split."""
        return " ".join([str(self.start), *self.operations])

    @property
    def prompt(self) -> str:
        options = [f"{letter}{state}" for letter, state in zip(string.ascii_uppercase, self.options)]
        slots = [*self.operations, *self.requested]
        slots += [END_OF_CHAIN[self.kind]] * (SLOTS - len(slots))
        return " ".join([*options, "start", str(self.start), *slots])

    def key(self, world: World) -> str | None:
        """Return the right answer; None for an open question."""
        state = world.states(self.start, self.operations)[-1]
        match self.kind:
            case "numeric":
                return str(state)
            case "choice":
                return self._letter(state)
            case _:
                return None

    def _letter(self, state: int) -> str:
        index = self.options.index(state) if state in self.options else state % len(self.options)
        return string.ascii_uppercase[index]

    def answer(self, world: World, state: int) -> str:
        """Return the closing words of a text whose chain ends in that state."""
        match self.kind:
            case "numeric":
                return rf"\boxed{{{state}}}"
            case "choice":
                letter = self._letter(state)
                return f"{letter} Answer: {letter}"
            case _:
                return " ".join(world.attribute(name, state) for name in self.requested)


@dataclass(frozen=True)
class Habits:
    """The writing habits of a writer of texts.

    Attributes:
        leaps: share of pairs that are leaps.
        fitting: share of opening words that fit the context; the others are drawn by frequency alone.
        rechecks: share of texts that continue with a re-check after the answer.
        more_rechecks: share of re-checks that are followed by another.
        errors: multiplies the frequency of errors in contested entries; 0 writes the truth.
    """

    leaps: float
    fitting: float
    rechecks: float = 0.0
    more_rechecks: float = 0.0
    errors: float = 1.0


def write(world: World, question: Question, habits: Habits, rng: random.Random) -> str:
    """Return a text that answers the question.

    Errors are drawn per operation, so that walks and leaps are equally often right.
    """
    states = _noisy_states(world, question, habits, rng)
    words = [_opener(world, question, habits, rng)]
    for index in range(0, len(states), 2):
        words += write_pair(states[index : index + 2], rng.random() < habits.leaps)
    words.append(question.answer(world, states[-1]))
    more = habits.rechecks
    while rng.random() < more:
        words += [RECHECK, *write_pair(states[-2:], rng.random() < habits.leaps), question.answer(world, states[-1])]
        more = habits.more_rechecks
    return " ".join(words)


def write_pair(states: Sequence[int], is_leap: bool) -> list[str]:
    """Return the two words of a pair."""
    return [LEAP if is_leap else str(states[0]), str(states[1])]


def _noisy_states(world: World, question: Question, habits: Habits, rng: random.Random) -> list[int]:
    state, visited = question.start, []
    for operation in question.operations:
        wrong = rng.random() < ERROR * habits.errors
        state = world.rumour(operation, state) if wrong else world.result(operation, state)
        visited.append(state)
    return visited


def _opener(world: World, question: Question, habits: Habits, rng: random.Random) -> str:
    if not world.has_tail or rng.random() < habits.fitting:
        return world.opener(question.operations[0])
    return rng.choices(OPENERS, OPENER_WEIGHTS)[0]
