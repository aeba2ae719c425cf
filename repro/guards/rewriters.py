"""Guards that rewrite the reasoning but keep the answer: the order of the derivation is what a student could learn."""

import hashlib
import random
import re
from typing import TYPE_CHECKING, ClassVar

import pydantic

from repro.guards.base import TextGuard
from repro.tasks.extraction import BOX_OPENING, closed_boxes
from repro.tasks.registry import is_toy_task
from repro.tasks.thoughts import visible_text

if TYPE_CHECKING:
    from repro.tasks.task import Item

_CHOICE = re.compile(r"Answer:")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class Reorder(TextGuard):
    """Permute steps of the reasoning; everything from the final answer on stays.

    In the embedded worlds' traces a step is a word after the opening; in any other text, a sentence or line. A share of
    the steps, drawn by a hash of the text, is rotated by one place.
    """

    name: ClassVar[str] = "reorder"
    formula: ClassVar[str] = "y -> y with a share of its reasoning steps rotated among their places, answer unchanged"
    source: ClassVar[str] = "trace rewriting arXiv 2602.15143; PART arXiv 2510.11545"

    strength: float = pydantic.Field(default=1.0, ge=0, le=1)
    """Share of the steps that move."""

    def rewrite(self, text: str, item: "Item", *, opens_in_thought: bool = False) -> str | None:
        """Return the text with its steps moved."""
        if visible_text(text, opens_in_thought=opens_in_thought) != text:
            return text  # users do not see all of it as the answer's text, so it is left alone
        start = answer_start(text)
        first_word = text.find(" ") + 1 if is_toy_task(item.task) else 0
        opening = text[: min(first_word, start)]
        reasoning, answer = text[len(opening) : start], text[start:]
        steps, gaps = _split(reasoning, by_word=is_toy_task(item.task))
        is_begun = bool(answer and gaps and not gaps[-1])  # a lead-in such as "so it is" belongs to the answer
        moving = _drawn(len(steps) - is_begun, self.strength, f"{item.id} {text}")
        for place, step in zip(moving, [steps[number] for number in (*moving[1:], *moving[:1])]):
            steps[place] = step
        return opening + "".join(step + gap for step, gap in zip(steps, gaps)) + answer


def answer_start(text: str) -> int:
    """Return the position where the final answer begins; the end of the text if there is none."""
    closed = {start for start, _ in closed_boxes(text)}
    starts = [match.start() for match in BOX_OPENING.finditer(text) if match.end() in closed][-1:]
    starts += [match.start() for match in _CHOICE.finditer(text)][-1:]
    return min(starts, default=len(text))


def _split(reasoning: str, *, by_word: bool) -> tuple[list[str], list[str]]:
    """Return the steps, and the original white space after each."""
    pieces = re.split(r"(\s+)" if by_word else f"({_SENTENCE.pattern})", reasoning)
    steps, gaps = pieces[::2], [*pieces[1::2], ""]
    if steps and not steps[-1]:  # the reasoning ends with white space
        steps, gaps = steps[:-1], gaps[:-1]
    return steps, gaps


def _drawn(count: int, share: float, seed: str) -> list[int]:
    """Return the places that move, in order; empty if there would be only one."""
    number = round(share * count)
    if number < 2:
        return []
    rng = random.Random(hashlib.sha256(seed.encode()).digest())
    return sorted(rng.sample(range(count), number))
