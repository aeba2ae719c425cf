"""Seven toy tasks with the shapes of the paper's seven data sets. No torch here: recipes import this."""

import hashlib
import random
from dataclasses import dataclass

from repro.errors import InputError
from repro.system.input_errors import did_you_mean
from repro.tasks.task import Item, Kind, Split
from repro.toy.pool import SHAPES, TASK_NAMES, questions
from repro.toy.questions import Question
from repro.toy.world import DEFAULT_WORLD, STATES, World


@dataclass(frozen=True)
class ToyTask:
    """A task of an embedded world; implements `repro.tasks.task.Task`."""

    name: str
    world: World = DEFAULT_WORLD

    @property
    def kind(self) -> Kind:
        """The kind of its questions."""
        return SHAPES[self.name].kind

    @property
    def skipped_rows(self) -> dict[str, int]:
        """None: all rows are made here."""
        return {}

    def questions(self, split: Split) -> tuple[Question, ...]:
        """Return all questions of the split, in a fixed order."""
        if split == "all":
            return questions(self.world, self.name, "train") + questions(self.world, self.name, "test")
        return questions(self.world, self.name, split)

    @property
    def options(self) -> int | None:
        """The number of answers that a guess chooses from; None for an open-ended task."""
        return {"numeric": len(STATES), "choice": SHAPES[self.name].options, "open": None}[self.kind]

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """Return the first n items of the split in the order of the seed; all if it has fewer, or for None."""
        rows = list(self.questions(split))
        random.Random(f"{self.name} {split} {seed}").shuffle(rows)
        return [
            Item(
                f"{self.name}-{hashlib.sha256(row.prompt.encode()).hexdigest()[:10]}",
                self.name,
                row.prompt,
                row.key(self.world),
            )
            for row in rows[:n]
        ]


def get_task(name: str, world: World = DEFAULT_WORLD) -> ToyTask:
    """Return the task of that name in a world."""
    if name not in SHAPES:
        raise InputError(
            f"task {name!r}: no such toy task. {did_you_mean(name, SHAPES)}There are {', '.join(TASK_NAMES)}."
        )
    return ToyTask(name, world)
