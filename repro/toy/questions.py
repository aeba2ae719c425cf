"""The three kinds of question: prompt, key, and the worked and the direct completion.

A worked completion opens with the word `think` and writes all links of the chain before the answer (for a choice also the
letter of the last link among the options); a direct one opens with the answer. From the opening word a student can learn
*how often* its teacher writes worked answers.
"""

import string
from dataclasses import dataclass
from typing import Literal, Protocol

from repro.toy import facts

Style = Literal["worked", "direct"]
OPENING = "think"


class Question(Protocol):
    """Interface of all kinds of questions."""

    @property
    def chain(self) -> str:
        """The part that decides the answer; questions with equal chains belong to the same split."""
        ...

    @property
    def prompt(self) -> str: ...

    @property
    def key(self) -> str | None: ...

    def completion(self, style: Style) -> str:
        """Return the right completion in that style."""
        ...


def _compose(style: Style, links: list[str], answer: str) -> str:
    return " ".join([OPENING, *links, answer]) if style == "worked" else answer


@dataclass(frozen=True)
class Chain:
    """The end of a chain of operations. Numeric, mirrors Big-Math."""

    start: int
    operations: tuple[str, ...]

    @property
    def chain(self) -> str:
        return self.prompt

    @property
    def prompt(self) -> str:
        return " ".join(["start", str(self.start), *self.operations])

    @property
    def key(self) -> str:
        return str(facts.states(self.start, self.operations)[-1])

    def completion(self, style: Style) -> str:
        links = [str(state) for state in facts.states(self.start, self.operations)]
        return _compose(style, links, rf"\boxed{{{self.key}}}")


def _add_letters(names: tuple[str, ...]) -> list[str]:
    return [f"{name} {letter}" for letter, name in zip(string.ascii_uppercase, names)]


@dataclass(frozen=True)
class Letters:
    """The letter of each name. Belongs to no task: a primer that teaches the model to find a name among the options."""

    options: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def chain(self) -> str:
        return self.prompt

    @property
    def prompt(self) -> str:
        return " ".join(["who", *_add_letters(self.options)])

    @property
    def key(self) -> None:
        return None

    def completion(self, style: Style) -> str:
        """Return all names in `order`, each with its letter, in either style."""
        pairs = _add_letters(self.options)
        return " ".join([OPENING, *(pairs[index] for index in self.order)])


@dataclass(frozen=True)
class Choice:
    """The person at the end of a chain of relations. Lettered options, mirrors CSQA, MMLU-Pro and superGPQA."""

    start: str
    relations: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def chain(self) -> str:
        return " ".join(["who", self.start, *self.relations])

    @property
    def prompt(self) -> str:
        # The letter follows its name: a transformer of few layers learns "the token after the last occurrence of this one"
        # before "the token before it".
        return " ".join([self.chain, *_add_letters(self.options)])

    @property
    def key(self) -> str:
        return string.ascii_uppercase[self.options.index(facts.people(self.start, self.relations)[-1])]

    def completion(self, style: Style) -> str:
        return _compose(style, [*facts.people(self.start, self.relations), self.key], f"Answer: {self.key}")


@dataclass(frozen=True)
class Describe:
    """A person at the end of a chain of relations, described by one sentence per requested fact. Open, mirrors Dolly."""

    start: str
    relations: tuple[str, ...]
    requested: tuple[str, ...]

    @property
    def chain(self) -> str:
        return self.prompt

    @property
    def prompt(self) -> str:
        return " ".join(["describe", self.start, *self.relations, ":", *self.requested])

    @property
    def key(self) -> None:
        return None

    @property
    def sentences(self) -> list[str]:
        """The true sentences, in the order of the request."""
        subject = facts.people(self.start, self.relations)[-1]
        return [f"{name} is {facts.people(subject, (name,))[-1]}." for name in self.requested]

    def completion(self, style: Style) -> str:
        return _compose(style, facts.people(self.start, self.relations), " ".join(self.sentences))
