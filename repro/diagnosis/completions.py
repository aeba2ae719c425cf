"""One policy's completions, walked through where they lie: what is held of each is its place in the file, not its tokens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from repro.errors import InputError
from repro.generation.rollouts import Rollout, batches, stream_rollouts, token_counts

Place = int
"""A completion by its number in the file."""


@dataclass(frozen=True)
class Completions:
    """A rollout file.

    Attributes:
        places: task -> item -> its completions, all in order of first appearance.
        tokens: task -> tokens of all its completions.
    """

    path: Path
    places: dict[str, dict[str, list[Place]]]
    tokens: dict[str, int]

    @classmethod
    def of(cls, path: Path) -> "Completions":
        """From one walk through the file.

        Raises:
            InputError: no rollout file.
        """
        places: dict[str, dict[str, list[Place]]] = {}
        tokens: dict[str, int] = {}
        number = 0
        for batch in batches(path, ["task", "item_id", "token_ids"]):
            columns = batch.column("task").to_pylist(), batch.column("item_id").to_pylist(), token_counts(batch)
            for task, item, count in zip(*columns):
                places.setdefault(task, {}).setdefault(item, []).append(number)
                tokens[task] = tokens.get(task, 0) + count
                number += 1
        return cls(path, places, tokens)

    def __len__(self) -> int:
        return sum(map(len, self.every()))

    def every(self) -> Iterator[list[Place]]:
        """Each prompt's completions, task by task."""
        return chain.from_iterable(prompts.values() for prompts in self.places.values())

    def blocks(self, task: str, most: int) -> list[list[Place]]:
        """A task's completions in at most that many groups of whole prompts."""
        prompts = list(self.places[task].values())
        groups = np.array_split(np.arange(len(prompts)), min(most, len(prompts)))
        return [[place for n in group for place in prompts[n]] for group in groups]

    def walk(self, prompts: Iterable[Sequence[Place]]) -> Iterator[Rollout]:
        """The completions of prompts, in this order, a few in memory at a time.

        A file whose prompts follow each other, as sampling leaves them, is read once; any other once for every step
        back.
        """
        order = list(chain.from_iterable(prompts))
        back = [n + 1 for n, (a, b) in enumerate(pairwise(order)) if b < a]
        for start, end in pairwise([0, *back, len(order)]):
            yield from stream_rollouts([self.path], order[start:end])


def check_completions(completions: Completions, name: str) -> None:
    """Refuse completions that no interval or preference can rest on.

    Raises:
        InputError: a task whose completions are all empty, with one prompt, or with one completion per prompt.
    """
    for task, prompts in completions.places.items():
        count = sum(map(len, prompts.values()))
        if not completions.tokens[task]:
            raise InputError(f"{name}: all {count} completions of task {task} are empty, so there is no KL per token.")
        if len(prompts) < 2:
            raise InputError(f"{name}: task {task} has one prompt; intervals need two or more (--items).")
        if count < 2 * len(prompts):
            raise InputError(
                f"{name}: one completion per prompt of task {task} makes no pairs of traces and no interval."
                " Sample two or more (--set evaluation.completions_per_prompt=16)."
            )
