"""One policy's completions, streamed from file: only row numbers are held in memory, not tokens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from repro.errors import InputError
from repro.generation.rollouts import Rollout, batches, stream_rollouts, token_counts

RowNumber = int
"""Row number of a completion in the file."""


@dataclass(frozen=True)
class Completions:
    """A rollout file.

    Attributes:
        rows: task -> item -> its completions, all in order of first appearance.
        tokens: task -> total tokens of its completions.
        longest: tokens of the longest prompt plus completion.
    """

    path: Path
    rows: dict[str, dict[str, list[RowNumber]]]
    tokens: dict[str, int]
    longest: int

    @classmethod
    def read(cls, path: Path) -> "Completions":
        """Index a file in one pass, without reading its texts.

        Raises:
            InputError: not a rollout file.
        """
        rows: dict[str, dict[str, list[RowNumber]]] = {}
        tokens: dict[str, int] = {}
        number = longest = 0
        for batch in batches(path, ["task", "item_id", "prompt_ids", "token_ids"]):
            counts = token_counts(batch), token_counts(batch, "prompt_ids")
            names = batch.column("task").to_pylist(), batch.column("item_id").to_pylist()
            for task, item, count, prompt in zip(*names, *counts):
                rows.setdefault(task, {}).setdefault(item, []).append(number)
                tokens[task] = tokens.get(task, 0) + count
                longest = max(longest, prompt + count)
                number += 1
        return cls(path, rows, tokens, longest)

    def __len__(self) -> int:
        return sum(map(len, self.prompts()))

    def prompts(self) -> Iterator[list[RowNumber]]:
        """Yield each prompt's completions, task by task."""
        return chain.from_iterable(prompts.values() for prompts in self.rows.values())

    def blocks(self, task: str, max_blocks: int) -> list[list[RowNumber]]:
        """Split a task's completions into at most `max_blocks` blocks of neighbouring prompts."""
        prompts = list(self.rows[task].values())
        groups = np.array_split(np.arange(len(prompts)), min(max_blocks, len(prompts)))
        return [[row for n in group for row in prompts[n]] for group in groups]

    def stream(self, prompts: Iterable[Sequence[RowNumber]]) -> Iterator[Rollout]:
        """Yield the completions of the given prompts, in this order, with a few in memory at a time.

        A file in prompt order, as sampling writes it, is read once; any other is re-read for every step backwards.
        """
        order = list(chain.from_iterable(prompts))
        restarts = [n + 1 for n, (a, b) in enumerate(pairwise(order)) if b < a]
        for start, end in pairwise([0, *restarts, len(order)]):
            yield from stream_rollouts([self.path], order[start:end])


def check_completions(completions: Completions, name: str) -> None:
    """Check that the completions allow intervals and preferences.

    Raises:
        InputError: a task has only empty completions, only one prompt, or fewer than two completions per prompt.
    """
    for task, prompts in completions.rows.items():
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
