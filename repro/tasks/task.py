"""Interface of all tasks: items with a prompt and, for verifiable tasks, an answer key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["numeric", "choice", "open"]
Split = Literal["train", "test", "all"]
"""all: both, for rows of the user that are evaluated or trained on as a complete set."""


@dataclass(frozen=True)
class Item:
    """One row of a data set.

    Attributes:
        id: unique within the task and stable across runs: intervals are paired on it.
        task: the task's name.
        prompt: the user message, before any chat template.
        key: the answer: a number for `numeric`, a letter for `choice`, None for `open`.
    """

    id: str
    task: str
    prompt: str
    key: str | None


RewardFunction = Callable[[list[Item], list[str]], list[float]]
"""r_task: items and completion texts to one reward each."""


class Task(Protocol):
    """A data set. `train` and `test` never share an item; `all` has those of both."""

    @property
    def name(self) -> str:
        """The name in `repro.tasks.registry`."""
        ...

    @property
    def kind(self) -> Kind:
        """The way its completions are judged."""
        ...

    @property
    def skipped_rows(self) -> dict[str, int]:
        """The rows that were left out as odd, by the reason."""
        ...

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """Return the first n items of the split in the order of the seed; all if it has fewer, or for None."""
        ...
