r"""Grading: the answer in a completion, and whether it is right. docs/grading.md states every rule.

The rules are few and fixed, since the extraction rule alone moves accuracies by as much as distillation does:
- thoughts (`<think>`) are no answer, and the completion ends where the model continues with a question of its own.
- numeric: the last *closed* `\boxed{}` counts; an unclosed one is a truncated answer. Plain numbers and quantities are
  compared exactly, everything else by math-verify, within limits.
- choice: the last stated letter. Nothing is ever guessed.
- open: no key; such completions are scored by a reward model, not graded.
"""

import functools
import re
from dataclasses import dataclass

from repro.tasks.answer_end import before_next_question, may_continue
from repro.tasks.equality import compare
from repro.tasks.expressions import is_comparable, prepare_expression, split_unit
from repro.tasks.extraction import LETTERS, last_boxed, last_choice, plain_answer
from repro.tasks.numerals import format_number
from repro.tasks.quantities import Quantity, is_same_quantity, parse_quantity
from repro.tasks.task import Kind
from repro.tasks.thoughts import visible_text
from repro.tasks.typography import strip_typography
from repro.tasks.units import is_same_unit

__all__ = ["LETTERS", "RULES", "Grade", "grade", "last_boxed", "last_choice"]

RULES = 3
"""Version of the rules: bumped whenever some completion would be graded differently. Part of the identity of stages
that grade (see `Stage.identity` in `repro.stages.stage`)."""

SHORT_TEXT = 400
"""Maximum length of completions with cached answers, in characters: small models often repeat completions."""

_INTEGER = re.compile(r"[1-9][0-9]{0,17}|0")
_AROUND_MARKS = re.compile(r"\s*([,;(){}\[\]])\s*")


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


_NO_ANSWER = Grade(None, correct=False)


def grade(kind: Kind, text: str, key: str | None, question: str = "", *, opens_in_thought: bool = False) -> Grade:
    """Extract the answer of a completion and compare it with the key.

    Args:
        text: the completion, without the prompt.
        key: the item's key; without a key the answer is extracted and never correct.
        question: the item's prompt, if known: a restated one is no new question, and a key is a number of what it asks
            for ("What percent ...?").
        opens_in_thought: the prompt ends within an open thought (see `repro.tasks.thoughts`).
    """
    if kind == "open":
        return _NO_ANSWER
    answer = None if opens_in_thought else plain_answer(kind, text)
    if answer is None:
        extract = _extract if len(text) > SHORT_TEXT else _extract_short
        answer = extract(kind, text, question if may_continue(text) else "", opens_in_thought)
    if kind == "choice":
        return _grade_letter(answer, key)
    if not answer:
        return _NO_ANSWER
    return _grade_number(answer, key, question if not answer.isdecimal() or not (key or "0").isdecimal() else "")


def _extract(kind: Kind, text: str, question: str, opens_in_thought: bool) -> str | None:
    """Return the letter of a choice, or what is in the box, without typography; None or empty without an answer."""
    text = before_next_question(visible_text(text, opens_in_thought=opens_in_thought), question, kind)
    if kind == "choice":
        return last_choice(text)
    answer = last_boxed(text)
    return answer and strip_typography(answer)


_extract_short = functools.lru_cache(maxsize=16384)(_extract)


@functools.lru_cache(maxsize=1024)
def _grade_letter(letter: str | None, key: str | None) -> Grade:
    return Grade(letter, letter is not None and letter == key)


@functools.lru_cache(maxsize=65536)
def _grade_number(answer: str, key: str | None, question: str) -> Grade:
    if (
        key is not None and _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(key)
    ):  # nearly every answer, and 20 times as fast
        return Grade(answer, correct=answer == key)
    quantity = parse_quantity(answer)
    spelling = answer if quantity is None else _spell(quantity, answer)
    if key is None:
        return Grade(spelling, correct=False)
    gold = strip_typography(key)
    if _squeeze(answer) == _squeeze(gold):
        return Grade(key, correct=True)
    target = parse_quantity(gold, is_key=True)
    if quantity is not None and target is not None:
        is_same = is_same_quantity(quantity, target, question)
        return Grade(key, correct=True) if is_same else Grade(spelling, correct=False)
    return _grade_expression(answer, gold, key, spelling, quantity, target)


def _grade_expression(
    answer: str, gold: str, key: str, spelling: str, quantity: Quantity | None, target: Quantity | None
) -> Grade:
    """Compare with math-verify unless both sides are quantities or it would drop or multiply words and digits."""
    answer_expression, answer_unit = (answer, "") if quantity is None else (_expression_of(quantity), quantity.unit)
    gold_expression, gold_unit = (gold, "") if target is None else (_expression_of(target), target.unit)
    if quantity is None:
        answer_expression, answer_unit = split_unit(answer)
    if target is None:
        gold_expression, gold_unit = split_unit(gold)
    if not is_same_unit(answer_unit, gold_unit) or not is_comparable(answer_expression, gold_expression):
        return Grade(spelling, correct=False)
    comparison = compare(prepare_expression(answer_expression), prepare_expression(gold_expression))
    if comparison.is_equal:
        return Grade(key, correct=True)
    if quantity is None and comparison.form is not None:
        parsed = parse_quantity(comparison.form)
        spelling = comparison.form if parsed is None else _spell(parsed, comparison.form)
    return Grade(spelling, correct=False, is_undecided=comparison.is_equal is None)


def _spell(quantity: Quantity, text: str) -> str:
    """Return one spelling per value. A number in another base keeps its own."""
    return text if quantity.numeral.base is not None else format_number(quantity.value())


def _expression_of(quantity: Quantity) -> str:
    """Return the number alone, for a comparison with an expression."""
    value = quantity.value()
    if quantity.numeral.base is not None:
        return "_"  # never equals an expression
    return format_number(value)


def _squeeze(text: str) -> str:
    """Remove blanks where they mean nothing, beside commas and brackets."""
    return _AROUND_MARKS.sub(r"\1", text)
