"""Select and mix stored completions, prompt by prompt, without an answer key."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from repro.distillation.config import SelectionConfig
from repro.errors import InputError
from repro.generation.rollouts import SCHEMA, RowGroupWriter, batches, stream_rows, token_counts
from repro.tasks import registry
from repro.tasks.grading import grade

PromptKey = tuple[str, str]
"""Task and item id."""


@dataclass(frozen=True)
class Source:
    """A rollout file, and whether its prompts end within a thought (see `repro.tasks.thoughts`)."""

    file: Path
    opens_in_thought: bool = False


def select_completions(
    config: SelectionConfig,
    completions: Source,
    out: Path,
    *,
    voters: Source | None = None,
    scores: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the selected completions, in their original order.

    Args:
        voters: for majority: the completions that vote on each prompt's answer.
        scores: for likeliest: log-probability of each completion, nats, in file order (see `generation.scores`).

    Returns:
        completions, of, prompts (with a completion left), prompts_without, tokens.

    Raises:
        InputError: no completion is left.
    """
    if config.rule == "majority":
        assert voters is not None
        chosen = _chosen_answers(voters, seed)
        rows = [n for n, (key, answer) in enumerate(_answers(completions)) if answer == chosen.get(key, _NEVER)]
    else:
        rows = sorted(_best_rows(config, completions.file, scores))
    return _write(completions.file, set(rows), out)


_NEVER = "\0"
"""Matches no answer: no voter answered, so the prompt has no majority."""


def _answers(source: Source) -> Iterator[tuple[PromptKey, str | None]]:
    """Yield prompt and normalised answer of each completion; the answer is None if it states none."""
    for row in stream_rows(source.file, ["task", "item_id", "prompt", "text"]):
        kind = registry.kind_of(row["task"])
        answer = grade(kind, row["text"], None, row["prompt"], opens_in_thought=source.opens_in_thought).answer
        yield (row["task"], row["item_id"]), answer


def _chosen_answers(voters: Source, seed: int) -> dict[PromptKey, str]:
    """Return each prompt's most frequent answer; ties are broken by a seeded draw."""
    votes: dict[PromptKey, Counter[str]] = {}
    for key, answer in _answers(voters):
        if answer is not None:
            votes.setdefault(key, Counter())[answer] += 1
    chosen = {}
    for key, counts in votes.items():
        tied = sorted(answer for answer, count in counts.items() if count == max(counts.values()))
        chosen[key] = random.Random(f"{seed} {key[0]} {key[1]}").choice(tied)
    return chosen


def _best_rows(config: SelectionConfig, file: Path, scores: Path | None) -> Iterator[int]:
    """Yield the rows of the best share of each prompt's completions; empty completions last."""
    cost: list[float] = []
    keys: list[PromptKey] = []
    for batch in batches(file, ["task", "item_id", "token_ids"]):
        cost += [count or math.inf for count in token_counts(batch)]
        keys += zip(batch.column("task").to_pylist(), batch.column("item_id").to_pylist())
    if config.rule == "likeliest":
        assert scores is not None
        rows_of_scores = stream_rows(scores, ["tokens", "log_prob"])
        cost = [-row["log_prob"] / row["tokens"] if row["tokens"] else math.inf for row in rows_of_scores]
    rows_of: dict[PromptKey, list[int]] = {}
    for number, key in enumerate(keys):
        rows_of.setdefault(key, []).append(number)
    for rows in rows_of.values():
        rows.sort(key=lambda number: (cost[number], number))
        yield from rows[: max(1, round(config.share * len(rows)))]


def mix_completions(main: Path, supplement: Path, out: Path, *, share: float, seed: int) -> dict[str, Any]:
    """Write the completions of `main`, with those of a seeded share of the prompts taken from `supplement` instead.

    Returns:
        completions, of, prompts, prompts_without, tokens; supplemented: number of replaced prompts.
    """
    prompts = sorted({(row["task"], row["item_id"]) for row in stream_rows(main, ["task", "item_id"])})
    drawn = set(random.Random(seed).sample(prompts, round(share * len(prompts))))

    def rows_where(file: Path, is_drawn: bool) -> set[int]:
        keys = enumerate(stream_rows(file, ["task", "item_id"]))
        return {number for number, row in keys if ((row["task"], row["item_id"]) in drawn) == is_drawn}

    parts = [(main, rows_where(main, is_drawn=False)), (supplement, rows_where(supplement, is_drawn=True))]
    counts = _write_parts(parts, out)
    return counts | {"supplemented": len(drawn)}


def _write(file: Path, rows: set[int], out: Path) -> dict[str, Any]:
    if not rows:
        raise InputError(
            f"{file.parent.name}: no completion is selected. The rule majority needs completions that state an answer, of"
            " a task that has answers."
        )
    return _write_parts([(file, rows)], out)


def _write_parts(parts: Sequence[tuple[Path, set[int]]], out: Path) -> dict[str, Any]:
    written, total, tokens = 0, 0, 0
    seen: set[PromptKey] = set()
    left: set[PromptKey] = set()
    with RowGroupWriter(out, SCHEMA) as writer:
        for file, rows in parts:
            start = 0
            for batch in batches(file, SCHEMA.names):
                is_selected = [number in rows for number in range(start, start + len(batch))]
                start += len(batch)
                seen |= set(zip(batch.column("task").to_pylist(), batch.column("item_id").to_pylist()))
                table = pa.Table.from_batches([batch]).filter(pa.array(is_selected))
                left |= set(zip(table.column("task").to_pylist(), table.column("item_id").to_pylist()))
                tokens += sum(len(ids) for ids in table.column("token_ids").to_pylist())
                written += len(table)
                if len(table):
                    writer.write(table)
            total += start
    return {
        "completions": written,
        "of": total,
        "prompts": len(left),
        "prompts_without": len(seen - left),
        "tokens": tokens,
    }
