"""Odd answers that math-verify is known to parse a certain way, so no grading process is needed for them.

A small model that has lost its way boxes `r2`, `is7` or a byte that is no character. math-verify reads a product of symbols in
the first two and nothing in the last. tests/tasks/test_known_forms.py asks it. Only a symbol times zero is read otherwise:
math-verify says that `A0` is 0, but it is no number.
"""

import re

_INTEGER = re.compile(r"0|-?[1-9]\d{0,8}", re.ASCII)
_LETTERS = re.compile(r"([A-Za-z]{1,2})(0|[1-9]\d{0,3})?", re.ASCII)
_UNREADABLE = re.compile(r"[0-9A-Za-z]*(?:[\x00-\x08\x0e-\x1b\x7f\ufffd][0-9A-Za-z]*)+")
_NO_PRODUCTS = frozenset(("or", "tr"))  # a connective and the trace of a matrix


def known_form(answer: str, key: str) -> tuple[bool, str | None] | None:
    """Return whether an answer equals a key that is an integer, and its form (see `repro.tasks.equality.Comparison`).

    Returns:
        None if math-verify must be asked: for other keys, and for letters that may be more than symbols (e is a number,
        `dx` a differential, `nn` a power).
    """
    if not _INTEGER.fullmatch(key):
        return None
    if _UNREADABLE.fullmatch(answer):
        return False, None
    match = _LETTERS.fullmatch(answer)
    if match is None:
        return None
    letters, number = match[1], match[2] or "1"
    is_pair = len(letters) == 2
    if "e" in letters or letters in _NO_PRODUCTS or (is_pair and (letters[0] == "d" or len(set(letters.lower())) == 1)):
        return None
    symbols = sorted(letter if letter == "I" else letter.lower() for letter in letters)  # I is the imaginary unit
    return False, "*".join([*([number] if number != "1" else []), *symbols])
