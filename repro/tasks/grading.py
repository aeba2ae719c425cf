"""Grading: the answer in a completion, and whether it is right."""

import functools
import re
from dataclasses import dataclass

from math_verify import LatexExtractionConfig, parse, verify

from repro.tasks.task import Kind

LETTERS = "ABCDEFGHIJ"
_BOXED = re.compile(r"\\boxed\{")
_CHOICE = re.compile(r"answer\s*(?:is|:)?\s*\**\(?([A-J])\)?\b", re.IGNORECASE)
_BOXED_LETTER = re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-J])\)?\}?\s*\}")


@dataclass(frozen=True)
class Grade:
    """answer: the extracted answer, None where there is none (a parse failure). correct: equal to the key."""

    answer: str | None
    correct: bool


def last_boxed(text: str) -> str | None:
    """Content of the last *closed* box. An unclosed box is a truncated answer, hence no answer."""
    for start in reversed([match.end() for match in _BOXED.finditer(text)]):
        depth = 1
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start:position].strip()
    return None


def last_choice(text: str) -> str | None:
    """Letter of the last stated choice ("Answer: B", or a boxed letter). Lone letters never count."""
    found = [*_CHOICE.finditer(text), *_BOXED_LETTER.finditer(text)]
    return max(found, key=lambda match: match.start()).group(1).upper() if found else None


@functools.lru_cache(maxsize=65536)
def _same_number(answer: str, key: str) -> bool:
    config = [LatexExtractionConfig()]
    gold = parse(f"${key}$", extraction_config=config, parsing_timeout=None)
    given = parse(f"${answer}$", extraction_config=config, parsing_timeout=None)
    return bool(verify(gold, given, timeout_seconds=None))


def grade(kind: Kind, text: str, key: str | None) -> Grade:
    """Extract and compare. `open` tasks have no key: their completions are scored, not graded."""
    if kind == "open":
        return Grade(None, False)
    answer = last_boxed(text) if kind == "numeric" else last_choice(text)
    if answer is None or key is None:
        return Grade(answer, False)
    if kind == "choice" or answer == key:
        return Grade(answer, answer == key)
    return Grade(answer, _same_number(answer, key))
