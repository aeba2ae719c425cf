r"""Grading: the answer in a completion, and whether it is right.

The rules are few and fixed, since the extraction rule alone moves accuracies by as much as distillation does:
- numeric: the last *closed* `\boxed{}` counts; an unclosed one is a truncated answer. Plain numbers are compared exactly,
  everything else by math-verify, within limits.
- choice: the last stated letter before the model continues with a new question. Nothing is ever guessed.
- open: no key; such completions are scored by a reward model, not graded.
"""

import functools
from dataclasses import dataclass

from repro.tasks.equality import compare
from repro.tasks.extraction import LETTERS, last_boxed, last_choice
from repro.tasks.numerals import format_number, parse_number, strip_typography
from repro.tasks.task import Kind

__all__ = ["LETTERS", "Grade", "grade", "last_boxed", "last_choice"]

SAME_WITHIN = 1e-5
"""Plain numbers further apart are different. math-verify rounds to 6 digits, so it decides on closer ones."""


@dataclass(frozen=True)
class Grade:
    """The extracted answer and its verdict.

    Attributes:
        answer: None if there is none (a parse failure). Equal answers have one spelling, for majority voting: `10{,}000`
            and `10000.0` are both "10000", and a correct answer is the key itself.
        correct: equal to the key.
        is_undecided: the comparison reached a limit (see `repro.tasks.equality`). `correct` is then False, and callers
            count these answers and report their number.
    """

    answer: str | None
    correct: bool
    is_undecided: bool = False


def grade(kind: Kind, text: str, key: str | None) -> Grade:
    """Extract the answer of a completion and compare it with the key.

    Args:
        text: the completion, without the prompt.
        key: the item's key; without a key the answer is extracted and never correct.
    """
    if kind == "open":
        return Grade(None, correct=False)
    if kind == "choice":
        letter = last_choice(text)
        return Grade(letter, letter is not None and letter == key)
    answer = last_boxed(text)
    answer = answer and strip_typography(answer)
    return _grade_number(answer, key) if answer else Grade(None, correct=False)


@functools.lru_cache(maxsize=65536)
def _grade_number(answer: str, key: str | None) -> Grade:
    value = parse_number(answer)
    spelling = answer if value is None else format_number(value)
    if key is None:
        return Grade(spelling, correct=False)
    gold = strip_typography(key)
    if answer == gold:
        return Grade(key, correct=True)
    target = parse_number(gold)
    if value is not None and target is not None:
        if value == target:
            return Grade(key, correct=True)
        if (value.denominator == target.denominator == 1) or abs(value - target) > SAME_WITHIN:
            return Grade(spelling, correct=False)
    comparison = compare(answer, gold)
    if comparison.is_equal:
        return Grade(key, correct=True)
    if value is None and comparison.form is not None:
        parsed = parse_number(comparison.form)
        spelling = comparison.form if parsed is None else format_number(parsed)
    return Grade(spelling, correct=False, is_undecided=comparison.is_equal is None)
