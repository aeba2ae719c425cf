"""The three kinds of question: how the prompt reads, and what a worked and a direct completion look like.

A worked completion opens with the word `think` and writes every link of the chain before the answer (for a choice
also the letter that stands after the last link among the options); a direct one opens with the answer. The opening word is what lets a student copy *how often* its teacher works.
"""

import string
from dataclasses import dataclass
from typing import Literal, Protocol

from repro.toy import facts

Style = Literal["worked", "direct"]
OPENING = "think"


class Question(Protocol):
    """What every kind of question gives."""

    @property
    def chain(self) -> str:
        """The part that decides the answer; questions with one chain belong to one split."""
        ...

    @property
    def prompt(self) -> str: ...

    @property
    def key(self) -> str | None: ...

    def completion(self, style: Style) -> str:
        """The right completion in that style."""
        ...


def _opened(style: Style, links: list[str], answer: str) -> str:
    return " ".join([OPENING, *links, answer]) if style == "worked" else answer


@dataclass(frozen=True)
class Chain:
    """Where does a chain of operations end? Numeric, mirrors Big-Math."""

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
        return _opened(style, links, rf"\boxed{{{self.key}}}")


def _lettered(names: tuple[str, ...]) -> list[str]:
    return [f"{name} {letter}" for letter, name in zip(string.ascii_uppercase, names)]


@dataclass(frozen=True)
class Letters:
    """Which letter has each name? No item of any task: it teaches the look among the options, alone and often."""

    options: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def chain(self) -> str:
        return self.prompt

    @property
    def prompt(self) -> str:
        return " ".join(["who", *_lettered(self.options)])

    @property
    def key(self) -> None:
        return None

    def completion(self, style: Style) -> str:
        """All names in the order given, each with its letter, whatever the style."""
        pairs = _lettered(self.options)
        return " ".join([OPENING, *(pairs[place] for place in self.order)])


@dataclass(frozen=True)
class Choice:
    """Who is the boss of the friend of nora? Lettered options, mirrors CSQA, MMLU-Pro and superGPQA."""

    start: str
    relations: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def chain(self) -> str:
        return " ".join(["who", self.start, *self.relations])

    @property
    def prompt(self) -> str:
        # The letter follows its name: "the token after the last occurrence of this one" is what a transformer of few
        # layers learns first, "the token before" later.
        return " ".join([self.chain, *_lettered(self.options)])

    @property
    def key(self) -> str:
        return string.ascii_uppercase[self.options.index(facts.people(self.start, self.relations)[-1])]

    def completion(self, style: Style) -> str:
        return _opened(style, [*facts.people(self.start, self.relations), self.key], f"Answer: {self.key}")


@dataclass(frozen=True)
class Describe:
    """Describe a person reached by relations: one sentence for each fact that is asked. Open, mirrors Dolly."""

    start: str
    relations: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def chain(self) -> str:
        return self.prompt

    @property
    def prompt(self) -> str:
        return " ".join(["describe", self.start, *self.relations, ":", *self.asked])

    @property
    def key(self) -> None:
        return None

    @property
    def sentences(self) -> list[str]:
        """The true sentences, in the order asked."""
        subject = facts.people(self.start, self.relations)[-1]
        return [f"{name} is {facts.people(subject, (name,))[-1]}." for name in self.asked]

    def completion(self, style: Style) -> str:
        return _opened(style, facts.people(self.start, self.relations), " ".join(self.sentences))
