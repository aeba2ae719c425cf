"""Section 6.5's three failure modes, as rules on a completion. Pure functions of text: no model, no file.

The authors identified the modes by reading, with a large model's help; they print no rules, so these are ours. If
several fit a completion, its mode is the first of degradation, self-correction, hallucination.
"""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

from repro.evaluation.repetition import has_repeated_span
from repro.tasks.extraction import BOX_OPENING, closed_boxes
from repro.tasks.numerals import parse_number
from repro.tasks.task import Kind

Mode = Literal["hallucination", "self_correction", "degradation"]
MODES: tuple[Mode, ...] = get_args(Mode)
MODE_DESCRIPTIONS: dict[Mode, str] = {
    "hallucination": "overconfident hallucination: fluent, ended, a wrong answer stated in the asked form, never taken back",
    "self_correction": "self-correction collapse: the right answer, then a re-check phrase, then a wrong answer",
    "degradation": "local decoding degradation: repeated spans, or an end without an answer, or with one in a broken form",
}
NGRAM = 4
MOST_REPEATED = 0.5
"""A text counts as repetitive above this share of repeated n-grams (ASSUMED)."""
FEWEST_WORDS = 20
"""For texts with fewer words, the share of repeated n-grams is not computed."""

_RECHECK = re.compile(
    r"\b(?:wait|hold on|on second thought|let(?:'|’)?s? (?:me )?(?:re-?check|double[- ]check|verify|re-?consider|re-?think)"
    r"|let us (?:re-?check|verify|re-?consider)|double[- ]check(?:ing)?|re-?checking|re-?considering|hmm+"
    r"|actually,|but actually|i made (?:a|an) (?:mistake|error)|correction:)(?!\w)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w]|\.\d)")
_CHOSEN = re.compile(  # a bare A or I is an English word, and a list of options is not a choice
    r"\b(?:(?i:answer)(?:\s+(?:is|must be|should be|would be))?\s*:?|(?i:choose|pick|select|go with|it is|that is|which is))"
    r"\s+(?:(?i:option|choice)\s+)?\(?([A-J])(?:\)|(?=[\s.,;:!?]|$))"
    r"|\b(?i:so|thus|hence|therefore|be),?\s+(?:\(([A-J])\)|([A-J])(?=[.,;:!?]|$))"
    r"|\b(?i:option|choice)\s+\(?([A-J])\)?\s+(?:is|must be|seems|looks)\s+(?:the\s+)?(?:correct|right|best)\b"
)


def mode_of(text: str, *, kind: Kind, key: str, answer: str | None, ended: bool, trace: str = "") -> Mode | None:
    """Return the failure mode of a completion; None for a correct one, or if no mode fits.

    Args:
        answer: the graded answer, None without an answer; equal to `key` if correct.
        ended: the completion ended before the token limit. If cut before any answer, without repetition, no mode fits.
        trace: the completion with its thoughts, searched for loops and re-checks; `text` if empty.
    """
    if answer == key:
        return None
    trace = trace or text
    if is_repetitive(trace) or (ended and answer is None) or has_broken_form(text, kind=kind, key=key, answer=answer):
        return "degradation"
    if answer is None:
        return None
    return "self_correction" if is_self_correction(trace, kind=kind, key=key) else "hallucination"


def is_repetitive(text: str) -> bool:
    """Return True if a span of words occurs four times in a row, or if most 4-grams are repeated."""
    words = text.split()
    numbers = {word: n for n, word in enumerate(dict.fromkeys(words))}
    return has_repeated_span([numbers[word] for word in words]) or repeated_share(words) > MOST_REPEATED


def has_broken_form(text: str, *, kind: Kind, key: str, answer: str | None) -> bool:
    """Return True if an answer can be read but its form is broken.

    Either a box is opened but never closed, or the correct answer is a plain number and this one is not.
    """
    if len(BOX_OPENING.findall(text)) > len(closed_boxes(text)):
        return True
    return kind == "numeric" and answer is not None and parse_number(key) is not None and parse_number(answer) is None


def repeated_share(words: Sequence[str], n: int = NGRAM) -> float:
    """Return the share of n-grams that occurred earlier in the text; 0 for a short text."""
    if len(words) < FEWEST_WORDS:
        return 0.0
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(grams.values())
    return (total - len(grams)) / total


def find_rechecks(text: str) -> list[int]:
    """Return the positions of phrases that begin a re-check."""
    return [match.start() for match in _RECHECK.finditer(text)]


def is_self_correction(text: str, *, kind: Kind, key: str) -> bool:
    """Return True if the correct answer precedes a re-check phrase, in a completion that ends wrong."""
    return find_recheck_after_answer(text, kind=kind, key=key) is not None


def find_recheck_after_answer(text: str, *, kind: Kind, key: str) -> int | None:
    """Return the position of the first re-check phrase preceded by the correct answer; None if there is none."""
    return next((n for n in find_rechecks(text) if states_answer(text[:n], kind=kind, key=key)), None)


def states_answer(text: str, *, kind: Kind, key: str) -> bool:
    """Return True if the text states the correct answer anywhere: the number, or the letter of the choice."""
    if kind == "choice":
        is_boxed = any(content.strip(" ()") == key for _, content in closed_boxes(text))
        return is_boxed or any(key in match.groups() for match in _CHOSEN.finditer(text))
    expected = parse_number(key)
    if expected is None:
        return any(content == key for _, content in closed_boxes(text)) or key in text
    return any(_value(match[0]) == expected for match in _NUMBER.finditer(text))


def _value(number: str) -> Fraction | None:
    return parse_number(number.replace(",", "").rstrip("."))
