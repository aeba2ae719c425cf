"""Stored teacher completions as training rows, in training order."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from repro.errors import InputError
from repro.generation.rollouts import Stop, batches, stream_rows, token_counts
from repro.tasks import Item
from repro.tasks.extraction import closed_boxes, last_choice
from repro.training.optimisation import training_order


@dataclass(frozen=True)
class Trace:
    """One training row: an item, and the completion in the student's tokens, its end of turn included."""

    item: Item
    completion_ids: list[int]


@dataclass(frozen=True)
class TraceReader:
    """How a student reads stored completions.

    Attributes:
        tokenizer, end_id: the student's, and its end of turn.
        shared: teacher and student have one tokenizer: the sampled ids are kept as they are.
        kind: answer-only: the final answer alone, then the end of turn (no reasoning to learn).
        cap: tokens that are kept at most.
    """

    tokenizer: Any
    end_id: int
    shared: bool
    kind: Literal["full", "answer-only"]
    cap: int

    def teaches(self, text: str, tokens: int, stop: Stop) -> bool:
        """Whether `student_ids` of a completion of so many tokens would hold any."""
        if self.kind == "answer-only":
            return final_answer(text) is not None
        return tokens > 0 if self.shared else stop == "eos" or bool(self._encode(text))

    def student_ids(self, text: str, token_ids: list[int], stop: Stop) -> list[int]:
        """A teacher completion in the student's tokens; empty where nothing can be learnt from it."""
        if self.kind == "answer-only":
            answer = final_answer(text)
            return [] if answer is None else [*self._encode(answer), self.end_id][: self.cap]
        if self.shared:
            return token_ids[: self.cap]
        ids = self._encode(text)
        return [*ids, self.end_id][: self.cap] if stop == "eos" else ids[: self.cap]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def final_answer(text: str) -> str | None:
    r"""The last \boxed{...} or "Answer: B" of a completion, alone; None where it states no answer."""
    boxes = closed_boxes(text)
    start, content = boxes[-1] if boxes else (0, None)
    letter = last_choice(text[start:])
    if letter is not None and letter != content:
        return f"Answer: {letter}"
    return None if content is None else f"\\boxed{{{content}}}"


def select_traces(
    stored: Path, items: Sequence[Item], draws: int, seed: int, reading: TraceReader
) -> tuple[list[Trace], int]:
    """Training rows in order, and how many completions of these items they are drawn from.

    Only the completions that training visits are held; of the others no more than their place in the file.

    Args:
        stored: the teacher's rollouts; those of other items are left out.

    Raises:
        InputError: no rollout file, or nothing to learn from.
    """
    by_id = {(item.task, item.id): item for item in items}
    own: dict[Item, list[int]] = {item: [] for item in items}
    start = 0
    for batch in batches(stored, ["task", "item_id", "text", "stop", "token_ids"]):
        rows = zip(token_counts(batch), batch.drop_columns(["token_ids"]).to_pylist())
        for number, (tokens, row) in enumerate(rows, start):
            item = by_id.get((row["task"], row["item_id"]))
            if item is not None and reading.teaches(row["text"], tokens, row["stop"]):
                own[item].append(number)
        start += len(batch)
    order = draw({item: numbers for item, numbers in own.items() if numbers}, draws, seed)
    visited = sorted({number for _, number in order})
    rows_ids = stream_rows(stored, ["text", "token_ids", "stop"], visited)
    ids = {number: reading.student_ids(**row) for number, row in zip(visited, rows_ids)}
    return [Trace(item, ids[number]) for item, number in order], sum(map(len, own.values()))


def draw(traces: Mapping[Item, Sequence[int]], draws: int, seed: int) -> list[tuple[Item, int]]:
    """Which trace of which item each training row takes.

    The prompts come by `training_order`, as on-policy training draws them; each visit of a prompt takes the
    next of its completions, in an order that the seed gives.

    Raises:
        InputError: no trace.
    """
    if not traces:
        raise InputError(
            "no stored completion can be learnt from: none belongs to the training items, or none states a"
            " final answer. Sample the teacher on these items (`repro sample`), or use traces = 'full'."
        )
    rng = random.Random(seed)
    shuffled = {item: list(own) for item, own in traces.items()}
    for own in shuffled.values():
        rng.shuffle(own)
    items, visits = list(shuffled), dict.fromkeys(shuffled, 0)
    rows = []
    for position in training_order(len(items), draws, seed):
        item = items[position]
        rows.append((item, shuffled[item][visits[item] % len(shuffled[item])]))
        visits[item] += 1
    return rows
