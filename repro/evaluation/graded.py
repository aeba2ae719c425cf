"""Graded completions in a file, and what is held of them in memory: not their texts, not their tokens."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from repro.evaluation.failures import repeats
from repro.generation.rollouts import (
    SCHEMA,
    Rollout,
    RowGroupWriter,
    Stop,
    batches,
    rollout_table,
    stream_rows,
    token_counts,
)

_KEY = pa.field("key", pa.string())
_ANSWER = pa.field("answer", pa.string())
_SCORE = pa.field("score", pa.float64())
_REPEATING = pa.field("repeating", pa.bool_())
_UNDECIDED = pa.field("undecided", pa.bool_())
GRADED = pa.schema([*SCHEMA, _KEY, _ANSWER, _SCORE, _REPEATING, _UNDECIDED])
"""A row per completion. Files without `repeating` or `undecided`, which were not always stored, are read as well."""

PromptKey = tuple[str, str]
"""Task and item id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one completion.

    Attributes:
        answer: what it was graded to answer, None for nothing; equal to `key` where right.
        score: 1/0 for verifiable tasks, the reward in 0..1 for open-ended ones.
        undecided: grading reached a limit; the score of 0 is not a finding (see `repro.tasks.grading.Grade`).
        tokens: its length. empty: nothing but white space. repeating: see `failures.repeats`.
    """

    task: str
    item_id: str
    sample: int
    stop: Stop
    key: str | None
    answer: str | None
    score: float
    tokens: int
    empty: bool
    repeating: bool
    undecided: bool = False

    @property
    def prompt(self) -> PromptKey:
        """Whose completion it is."""
        return self.task, self.item_id


@dataclass(frozen=True)
class Graded:
    """A rollout with its grade, see `Outcome`."""

    rollout: Rollout
    key: str | None
    answer: str | None
    score: float
    undecided: bool = False

    @property
    def prompt(self) -> PromptKey:
        """Whose completion it is."""
        return self.rollout.task, self.rollout.item_id

    @property
    def outcome(self) -> Outcome:
        """What is held of it."""
        rollout = self.rollout
        return Outcome(
            task=rollout.task,
            item_id=rollout.item_id,
            sample=rollout.sample,
            stop=rollout.stop,
            key=self.key,
            answer=self.answer,
            score=self.score,
            tokens=len(rollout.token_ids),
            empty=not rollout.text.strip(),
            repeating=repeats(rollout.token_ids),
            undecided=self.undecided,
        )


One = TypeVar("One", Outcome, Graded)


def write_graded(path: Path, pieces: Iterable[Sequence[Graded]]) -> list[Outcome]:
    """One Parquet row per completion: the rollout record, its grade, and whether it repeats itself.

    Args:
        pieces: completions a few at a time, so that no more of them are in memory.

    Returns:
        The outcomes of all of them.
    """
    outcomes: list[Outcome] = []
    with RowGroupWriter(path, GRADED) as file:
        for piece in pieces:
            own = [one.outcome for one in piece]
            table = rollout_table([one.rollout for one in piece])
            for field in (_KEY, _ANSWER, _SCORE, _REPEATING, _UNDECIDED):
                column = pa.array([getattr(one, field.name) for one in own], field.type)
                table = table.append_column(field, column)
            file.write(table)
            outcomes += own
    return outcomes


def read_outcomes(path: Path) -> list[Outcome]:
    """The outcomes of a file that `write_graded` wrote, in its order."""
    optional = {"repeating", "undecided"} & set(pq.read_schema(path).names)
    plain = ["task", "item_id", "sample", "stop", "key", "answer", "score", "text", *sorted(optional)]
    outcomes = []
    for batch in batches(path, [*plain, "token_ids"]):
        ids = batch.column("token_ids")
        for number, (row, tokens) in enumerate(zip(batch.select(plain).to_pylist(), token_counts(batch))):
            row["empty"] = not row.pop("text").strip()
            if "repeating" not in optional:
                row["repeating"] = repeats(ids[number].values.to_numpy())
            outcomes.append(Outcome(tokens=tokens, **row))
    return outcomes


def read_graded(path: Path, prompts: Collection[PromptKey] | None = None) -> Iterator[Graded]:
    """The completions of a file that `write_graded` wrote, in its order, texts and tokens as well.

    Args:
        prompts: of these alone; the others are not read into objects.
    """
    stored = pq.read_schema(path).names
    own = [field.name for field in fields(Graded) if field.name in stored]
    only = None
    if prompts is not None:
        keys = enumerate(stream_rows(path, ["task", "item_id"]))
        only = [number for number, row in keys if (row["task"], row["item_id"]) in prompts]
    for row in stream_rows(path, [*SCHEMA.names, *own], only):
        grade: dict[str, Any] = {name: row.pop(name) for name in own}
        yield Graded(Rollout(**row), **grade)


def by_prompt(some: Iterable[One]) -> dict[PromptKey, list[One]]:
    """A prompt's completions together, prompts in the order in which they first come."""
    groups: dict[PromptKey, list[One]] = {}
    for one in some:
        groups.setdefault(one.prompt, []).append(one)
    return groups
