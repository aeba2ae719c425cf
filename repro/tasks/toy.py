"""Seven toy tasks with the shapes of the paper's seven data sets. No torch here: recipes import this."""

import hashlib
import random
from dataclasses import dataclass

from repro.errors import InputError
from repro.tasks.task import Item, Kind, Split
from repro.toy.facts import STATES
from repro.toy.pool import TASK_NAMES, questions
from repro.toy.questions import Choice, Question


@dataclass(frozen=True)
class ToyTask:
    """A task of the embedded world; implements `repro.tasks.task.Task`."""

    name: str
    kind: Kind

    @property
    def skipped_rows(self) -> dict[str, int]:
        """None: all rows are made here."""
        return {}

    def questions(self, split: Split) -> tuple[Question, ...]:
        """Return all questions of the split, in a fixed order."""
        if split == "all":
            return questions(self.name, "train") + questions(self.name, "test")
        return questions(self.name, split)

    @property
    def options(self) -> int | None:
        """The number of answers that a guess chooses from; None for an open-ended task."""
        if self.kind == "numeric":
            return len(STATES)
        return (
            max(len(q.options) for q in self.questions("test") if isinstance(q, Choice))
            if self.kind == "choice"
            else None
        )

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """Return the first n items of the split in the order of the seed; all if it has fewer, or for None."""
        rows = list(self.questions(split))
        random.Random(f"{self.name} {split} {seed}").shuffle(rows)
        return [
            Item(f"{self.name}-{hashlib.sha256(row.prompt.encode()).hexdigest()[:10]}", self.name, row.prompt, row.key)
            for row in rows[:n]
        ]


_TASKS = {
    task.name: task
    for task in (
        ToyTask("toy-bm4", "numeric"),
        ToyTask("toy-bm5", "numeric"),
        ToyTask("toy-csqa", "choice"),
        ToyTask("toy-mmlu-pro", "choice"),
        ToyTask("toy-supergpqa", "choice"),
        ToyTask("toy-dolly", "open"),
        ToyTask("toy-vicuna", "open"),
    )
}


def get_task(name: str) -> ToyTask:
    """Return the task of that name."""
    if name not in _TASKS:
        raise InputError(f"unknown toy task {name!r}: known are {', '.join(TASK_NAMES)}.")
    return _TASKS[name]
