"""Graded completions on file, and their outcomes in memory, without texts and tokens."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from repro.evaluation.repetition import has_repeated_span
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
"""A row per completion. Older files without `repeating` or `undecided` can still be read."""

PromptKey = tuple[str, str]
"""Task and item id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Grade of a completion, without its text and tokens.

    Attributes:
        answer: the graded answer, None without an answer; equal to `key` if correct.
        score: 1/0 for verifiable tasks, the reward in 0..1 for open-ended ones.
        undecided: grading hit a limit, so the score of 0 means nothing (see `repro.tasks.grading.Grade`).
        tokens: its length. empty: it is only white space. repeating: see `repetition.has_repeated_span`.
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
        """The prompt that the completion answers."""
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
        """The prompt that the completion answers."""
        return self.rollout.task, self.rollout.item_id

    @property
    def outcome(self) -> Outcome:
        """The grade without text and tokens."""
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
            repeating=has_repeated_span(rollout.token_ids),
            undecided=self.undecided,
        )


GradedOrOutcome = TypeVar("GradedOrOutcome", Outcome, Graded)


def write_graded(path: Path, graded_batches: Iterable[Sequence[Graded]]) -> list[Outcome]:
    """Write a Parquet row per completion: the rollout, its grade, and whether it is repetitive.

    Args:
        graded_batches: completions, a few at a time to bound memory.

    Returns:
        All outcomes, in order.
    """
    outcomes: list[Outcome] = []
    with RowGroupWriter(path, GRADED) as file:
        for batch in graded_batches:
            batch_outcomes = [graded.outcome for graded in batch]
            table = rollout_table([graded.rollout for graded in batch])
            for field in (_KEY, _ANSWER, _SCORE, _REPEATING, _UNDECIDED):
                column = pa.array([getattr(outcome, field.name) for outcome in batch_outcomes], field.type)
                table = table.append_column(field, column)
            file.write(table)
            outcomes += batch_outcomes
    return outcomes


def read_outcomes(path: Path) -> list[Outcome]:
    """Read the outcomes from a file written by `write_graded`, in order."""
    optional = {"repeating", "undecided"} & set(pq.read_schema(path).names)
    columns = ["task", "item_id", "sample", "stop", "key", "answer", "score", "text", *sorted(optional)]
    outcomes = []
    for batch in batches(path, [*columns, "token_ids"]):
        ids = batch.column("token_ids")
        for number, (row, tokens) in enumerate(zip(batch.select(columns).to_pylist(), token_counts(batch))):
            row["empty"] = not row.pop("text").strip()
            if "repeating" not in optional:
                row["repeating"] = has_repeated_span(ids[number].values.to_numpy())
            outcomes.append(Outcome(tokens=tokens, **row))
    return outcomes


def read_graded(path: Path, prompts: Collection[PromptKey] | None = None) -> Iterator[Graded]:
    """Yield the completions from a file written by `write_graded`, in order, with texts and tokens.

    Args:
        prompts: yield only their completions; None for all.
    """
    stored = pq.read_schema(path).names
    grade_fields = [field.name for field in fields(Graded) if field.name in stored]
    numbers = None
    if prompts is not None:
        keys = enumerate(stream_rows(path, ["task", "item_id"]))
        numbers = [number for number, row in keys if (row["task"], row["item_id"]) in prompts]
    for row in stream_rows(path, [*SCHEMA.names, *grade_fields], numbers):
        grade: dict[str, Any] = {name: row.pop(name) for name in grade_fields}
        yield Graded(Rollout(**row), **grade)


def by_prompt(completions: Iterable[GradedOrOutcome]) -> dict[PromptKey, list[GradedOrOutcome]]:
    """Group completions by prompt, prompts in order of first appearance."""
    groups: dict[PromptKey, list[GradedOrOutcome]] = {}
    for completion in completions:
        groups.setdefault(completion.prompt, []).append(completion)
    return groups
