"""Stored teacher completions as training rows, in training order."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from repro.errors import InputError
from repro.generation.rollouts import Rollout
from repro.tasks import Item
from repro.tasks.extraction import closed_boxes, last_choice
from repro.training.optimisation import training_order


@dataclass(frozen=True)
class Trace:
    """One training row: an item, and the completion in the student's tokens, its end of turn included."""

    item: Item
    completion_ids: list[int]


def final_answer(text: str) -> str | None:
    r"""The last \boxed{...} or "Answer: B" of a completion, alone; None where it states no answer."""
    boxes = closed_boxes(text)
    start, content = boxes[-1] if boxes else (0, None)
    letter = last_choice(text[start:])
    if letter is not None and letter != content:
        return f"Answer: {letter}"
    return None if content is None else f"\\boxed{{{content}}}"


def student_ids(
    rollout: Rollout,
    tokenizer: Any,
    end_id: int,
    *,
    shared: bool,
    kind: Literal["full", "answer-only"],
    cap: int,
) -> list[int]:
    """A teacher completion in the student's tokens, at most `cap`; empty where nothing can be learnt from it.

    Args:
        end_id: the student's end of turn.
        shared: teacher and student have one tokenizer: the sampled ids are kept as they are.
        kind: answer-only: the final answer alone, then the end of turn (no reasoning to learn).
    """
    if kind == "answer-only":
        answer = final_answer(rollout.text)
        return [] if answer is None else [*_encode(tokenizer, answer), end_id][:cap]
    if shared:
        return rollout.token_ids[:cap]
    ids = _encode(tokenizer, rollout.text)
    return [*ids, end_id][:cap] if rollout.stop == "eos" else ids[:cap]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def draw(traces: Sequence[Trace], draws: int, seed: int) -> list[Trace]:
    """Training rows in order.

    The prompts come by `training_order`, as on-policy training draws them; each visit of a prompt takes the
    next of its completions, in an order that the seed gives.

    Raises:
        InputError: no trace.
    """
    by_item: dict[Item, list[Trace]] = defaultdict(list)
    for trace in traces:
        by_item[trace.item].append(trace)
    if not by_item:
        raise InputError(
            "no stored completion can be learnt from: none belongs to the training items, or none states a"
            " final answer. Sample the teacher on these items (`repro sample`), or use traces = 'full'."
        )
    rng = random.Random(seed)
    for own in by_item.values():
        rng.shuffle(own)
    items, visits = list(by_item), dict.fromkeys(by_item, 0)
    rows = []
    for position in training_order(len(items), draws, seed):
        item = items[position]
        rows.append(by_item[item][visits[item] % len(by_item[item])])
        visits[item] += 1
    return rows
