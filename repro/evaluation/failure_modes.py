"""Section 6.5's three ways to fail, as rules on one completion. Pure functions of text: no model, no file.

The paper found its modes by reading, with a large model's help; its rules are not printed, so these are ours. Where several
fit one completion, the first of degradation, self-correction, hallucination is its mode.
"""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

from repro.evaluation.failures import repeats
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
"""Share of n-grams seen before from which a text counts as repeating; ours."""
FEWEST_WORDS = 20
"""Words below which no share of repeated n-grams is taken."""

_RECHECK = re.compile(
    r"\b(?:wait|hold on|on second thought|let(?:'|’)?s? (?:me )?(?:re-?check|double[- ]check|verify|re-?consider|re-?think)"
    r"|let us (?:re-?check|verify|re-?consider)|double[- ]check(?:ing)?|re-?checking|re-?considering|hmm+"
    r"|actually,|but actually|i made (?:a|an) (?:mistake|error)|correction:)(?!\w)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w]|\.\d)")
_CHOSEN = re.compile(  # a bare A or I is an English word, and a list of options states none
    r"\b(?:(?i:answer)(?:\s+(?:is|must be|should be|would be))?\s*:?|(?i:choose|pick|select|go with|it is|that is|which is))"
    r"\s+(?:(?i:option|choice)\s+)?\(?([A-J])(?:\)|(?=[\s.,;:!?]|$))"
    r"|\b(?i:so|thus|hence|therefore|be),?\s+(?:\(([A-J])\)|([A-J])(?=[.,;:!?]|$))"
    r"|\b(?i:option|choice)\s+\(?([A-J])\)?\s+(?:is|must be|seems|looks)\s+(?:the\s+)?(?:correct|right|best)\b"
)


def mode_of(text: str, *, kind: Kind, key: str, answer: str | None, ended: bool) -> Mode | None:
    """The mode of one completion; None for a right one, and for a wrong one that fits none.

    Args:
        answer: what the completion was graded to answer, None for nothing; equal to `key` where right.
        ended: whether it ended by itself. One that the token cap cut before any answer, without repeating, fits none.
    """
    if answer == key:
        return None
    if loops(text) or (ended and answer is None) or drifts(text, kind=kind, key=key, answer=answer):
        return "degradation"
    if answer is None:
        return None
    return "self_correction" if collapses(text, kind=kind, key=key) else "hallucination"


def loops(text: str) -> bool:
    """Whether the text repeats itself: a span of words four times in a row, or most of its 4-grams seen before."""
    words = text.split()
    numbers = {word: n for n, word in enumerate(dict.fromkeys(words))}
    return repeats([numbers[word] for word in words]) or repeated_share(words) > MOST_REPEATED


def drifts(text: str, *, kind: Kind, key: str, answer: str | None) -> bool:
    """Whether the answer's form is broken, though an answer can be read: a box that is opened and never closed, or, where
    the right answer is a plain number, an answer that is none."""
    if len(BOX_OPENING.findall(text)) > len(closed_boxes(text)):
        return True
    return kind == "numeric" and answer is not None and parse_number(key) is not None and parse_number(answer) is None


def repeated_share(words: Sequence[str], n: int = NGRAM) -> float:
    """Share of n-grams that came before in the same text; 0 for a text too short to tell."""
    if len(words) < FEWEST_WORDS:
        return 0.0
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(grams.values())
    return (total - len(grams)) / total


def find_rechecks(text: str) -> list[int]:
    """Where phrases begin that open a re-check of what was said."""
    return [match.start() for match in _RECHECK.finditer(text)]


def collapses(text: str, *, kind: Kind, key: str) -> bool:
    """Whether the right answer stands before a re-check phrase. (That the completion ends wrong is known to the caller.)"""
    return any(states(text[:place], kind=kind, key=key) for place in find_rechecks(text))


def states(text: str, *, kind: Kind, key: str) -> bool:
    """Whether the text states the right answer anywhere: the number, or the letter of the choice."""
    if kind == "choice":
        boxes = any(content.strip(" ()") == key for _, content in closed_boxes(text))
        return boxes or any(key in match.groups() for match in _CHOSEN.finditer(text))
    wanted = parse_number(key)
    if wanted is None:
        return any(content == key for _, content in closed_boxes(text)) or key in text
    return any(_value(match[0]) == wanted for match in _NUMBER.finditer(text))


def _value(number: str) -> Fraction | None:
    return parse_number(number.replace(",", "").rstrip("."))
