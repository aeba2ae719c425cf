"""Stored teacher completions as training rows, in training order."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from repro.errors import InputError
from repro.generation.rollouts import Stop, batches, stream_rows, token_counts
from repro.tasks import Item
from repro.tasks.answer_end import before_next_question
from repro.tasks.extraction import closed_boxes, last_choice
from repro.tasks.thoughts import visible_text
from repro.training.optimisation import training_order

MOST_LOST = 0.01
"""ASSUMED: warn if more than this share of the training tokens is in traces without an end token."""


@dataclass(frozen=True)
class Trace:
    """A training row: an item, and the completion in the student's tokens, including its end of turn."""

    item: Item
    completion_ids: list[int]
    weight: float | None = None
    """Weight of the trace in the loss; None if traces are unweighted."""


@dataclass(frozen=True, kw_only=True)
class TraceReader:
    """Turns stored completions into the student's tokens.

    Attributes:
        tokenizer, end_id: the student's tokenizer and end-of-turn id.
        has_shared_tokens: teacher and student have the same tokenizer, so the sampled ids are used unchanged.
        kind: "answer-only" keeps only the final answer and the end of turn (no reasoning to learn).
        cap: most tokens of a completion; the rest is cut off.
        in_thought: the teacher's prompts end within a thought (see `repro.tasks.thoughts`).
    """

    tokenizer: Any
    end_id: int
    has_shared_tokens: bool
    kind: Literal["full", "answer-only"]
    cap: int
    in_thought: bool = False

    def has_tokens(self, text: str, tokens: int, stop: Stop) -> bool:
        """True if `student_ids` would not be empty for a completion of that many tokens."""
        if self.kind == "answer-only":
            return final_answer(text, opens_in_thought=self.in_thought) is not None
        return tokens > 0 if self.has_shared_tokens else stop == "eos" or bool(self._encode(text))

    def student_ids(self, text: str, token_ids: list[int], stop: Stop) -> list[int]:
        """Return a teacher completion in the student's tokens; empty if there is nothing to learn from it."""
        if self.kind == "answer-only":
            answer = final_answer(text, opens_in_thought=self.in_thought)
            return [] if answer is None else [*self._encode(answer), self.end_id][: self.cap]
        if self.has_shared_tokens:
            return token_ids[: self.cap]
        ids = self._encode(text)
        return [*ids, self.end_id][: self.cap] if stop == "eos" else ids[: self.cap]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def final_answer(text: str, *, opens_in_thought: bool = False) -> str | None:
    r"""Return the last \boxed{...} or "Answer: B" of a completion; None if it states no answer."""
    text = before_next_question(visible_text(text, opens_in_thought=opens_in_thought))
    boxes = closed_boxes(text)
    start, content = boxes[-1] if boxes else (0, None)
    letter = last_choice(text[start:])
    if letter is not None and letter != content:
        return f"Answer: {letter}"
    return None if content is None else f"\\boxed{{{content}}}"


def select_traces(
    stored: Path,
    items: Sequence[Item],
    visits: int,
    seed: int,
    reader: TraceReader,
    weights: Sequence[float] | None = None,
) -> tuple[list[Trace], int]:
    """Return the training rows in order, and the number of completions available for these items.

    Only completions that training visits are held in memory; for the rest, only row numbers.

    Args:
        stored: the teacher's rollouts; rollouts of other items are ignored.
        visits: rows to select.
        weights: weights of the stored completions, in file order.

    Raises:
        InputError: no rollout file, or nothing to learn from.
    """
    by_id = {(item.task, item.id): item for item in items}
    rows_of_item: dict[Item, list[int]] = {item: [] for item in items}
    start = 0
    for batch in batches(stored, ["task", "item_id", "text", "stop", "token_ids"]):
        rows = zip(token_counts(batch), batch.drop_columns(["token_ids"]).to_pylist())
        for number, (tokens, row) in enumerate(rows, start):
            item = by_id.get((row["task"], row["item_id"]))
            if item is not None and reader.has_tokens(row["text"], tokens, row["stop"]):
                rows_of_item[item].append(number)
        start += len(batch)
    order = assign_traces({item: numbers for item, numbers in rows_of_item.items() if numbers}, visits, seed)
    visited = sorted({number for _, number in order})
    rows_ids = stream_rows(stored, ["text", "token_ids", "stop"], visited)
    ids = {number: reader.student_ids(**row) for number, row in zip(visited, rows_ids)}
    traces = [Trace(item, ids[number], weights[number] if weights else None) for item, number in order]
    return traces, sum(map(len, rows_of_item.values()))


def lost_ends(traces: Sequence[Trace], ends: Collection[int]) -> dict[str, float]:
    """Count the training rows without an end token: cut at the cap, here or when sampled.

    Returns:
        traces_without_end: distinct traces; rows_without_end, tokens_without_end: shares of the training rows and of
            their tokens.
    """
    endless = [trace for trace in traces if trace.completion_ids[-1] not in ends]
    tokens = [sum(len(trace.completion_ids) for trace in part) for part in (endless, traces)]
    return {
        "traces_without_end": len({(trace.item, tuple(trace.completion_ids)) for trace in endless}),
        "rows_without_end": len(endless) / len(traces),
        "tokens_without_end": tokens[0] / tokens[1],
    }


def lost_ends_warning(counts: Mapping[str, float], cap: int) -> dict[str, str]:
    """Return {"traces without end": message} if more than `MOST_LOST` of the tokens are in such traces, else {}."""
    if counts.get("tokens_without_end", 0) <= MOST_LOST:
        return {}
    return {
        "traces without end": (
            f"{counts['traces_without_end']:.0f} traces ({counts['rows_without_end']:.1%} of the training rows,"
            f" {counts['tokens_without_end']:.1%} of their tokens) have no end token, because they were cut at {cap} tokens,"
            " here or in sampling: they do not teach the student to stop. Raise max_completion_tokens"
        )
    }


def assign_traces(traces: Mapping[Item, Sequence[int]], visits: int, seed: int) -> list[tuple[Item, int]]:
    """Return the item and the trace of each training row.

    Prompts follow `training_order`, as in on-policy training; each visit of a prompt takes the next of its
    completions, in a seeded order.

    Raises:
        InputError: there are no traces.
    """
    if not traces:
        raise InputError(
            "no stored completion can be used for training: none belongs to the training items, or none states a"
            " final answer. Sample the teacher on these items (`repro sample`), or use traces = 'full'."
        )
    rng = random.Random(seed)
    shuffled = {item: list(numbers) for item, numbers in traces.items()}
    for numbers in shuffled.values():
        rng.shuffle(numbers)
    items, visits_of = list(shuffled), dict.fromkeys(shuffled, 0)
    rows = []
    for position in training_order(len(items), visits, seed):
        item = items[position]
        rows.append((item, shuffled[item][visits_of[item] % len(shuffled[item])]))
        visits_of[item] += 1
    return rows
