r"""Prepare answers that are not plain quantities for math-verify: resolve first what it would drop, add or multiply.

It drops words and bases, reads `50\%` as 50 and as 1/2, adds the parts of `1 234`, and multiplies those of
`2\frac{2}{3}` and of a word (`E*f*i*v`).
"""

import re
from collections import Counter

from repro.tasks.typography import plain_text
from repro.tasks.units import HEDGES, UNIT_NAMES, canonical_unit, scale_of

_MIXED = re.compile(
    r"(?<![\d.,^_{}\\A-Za-z)])(\d{1,9})\s*\\frac\s*(?:\{\s*(\d{1,9})\s*\}\s*\{\s*(\d{1,9})\s*\}|(\d)(\d))", re.ASCII
)
_SIDE_BY_SIDE = re.compile(
    r"\d[\s~]+(?:\d|\\frac|\.\d)|\d\s*\\frac\s*\{?\s*\d+\s*\}?\s*\{?\s*\d|\d\s*\(\s*\d+\s*/", re.ASCII
)
_BASE = re.compile(r"\d\s*\)?\s*_|\bbase\b", re.ASCII)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_UNIT = re.compile(
    r"(?P<body>.*[\d})\]A-Za-z])\s*(?:\\[,; ]\s*)*"
    r"\\(?:text|mathrm|textrm|mbox)\s*\{(?P<unit>[^{}]*)\}(?P<power>\s*\^\s*\{?\s*\d\s*\}?)?",
    re.DOTALL,
)
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?", re.ASCII)  # not the sum 2024 - 5 - 6
_SET = re.compile(r"(?:\\left\s*)?\\\{.*\\\}", re.DOTALL)
_TUPLE = re.compile(r"(?:\\left\s*)?[(\[][^()\[\]]*,.*[)\]]", re.DOTALL)
_VARIABLE = re.compile(r"\d[a-z](?![A-Za-z])")
_LETTER = re.compile(r"[A-Za-z]")
_EQUATION = re.compile(r"(?<![<>=!\\])=(?!=)")
_FUNCTIONS = frozenset(
    (
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "exp",
        "max",
        "min",
        "gcd",
        "lcm",
        "det",
        "mod",
        "sqrt",
        "frac",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "deg",
    )
)
_JOINING = frozenset(("and", "or", "the", "text"))


def split_unit(text: str) -> tuple[str, str]:
    r"""Split `\frac{3\pi}{4} \text{ square feet}` into expression and canonical unit, which is empty if there is none."""
    match = _UNIT.fullmatch(text)
    if match is None or match["body"].rstrip().endswith("\\text"):
        return text, ""
    words = re.findall(r"[A-Za-z]+", match["unit"].lower())
    if not words or any(scale_of(word) for word in words) or not all(_is_unit_word(word) for word in words):
        return text, ""
    return match["body"], canonical_unit(match["unit"] + (match["power"] or ""))


def _is_unit_word(word: str) -> bool:
    return (
        word in UNIT_NAMES
        or word.rstrip("s") in UNIT_NAMES
        or word in ("square", "cubic", "sq", "cu", "per", "unit", "units")
    )


def prepare_expression(text: str) -> str:
    r"""Write percentages as hundredths and mixed numbers as sums; brace negative exponents."""
    text = re.sub(r"\^\s*-\s*(\d+)", r"^{-\1}", text)
    text = re.sub(r"\\?%", r"\\cdot\\frac{1}{100}", text)
    return _MIXED.sub(_add_mixed, text)


def _add_mixed(match: re.Match[str]) -> str:
    number, top, bottom = match[1], match[2] or match[4], match[3] or match[5]
    return rf"({number}+\frac{{{top}}}{{{bottom}}})" if 0 < int(top) < int(bottom) else match[0]


def is_comparable(answer: str, key: str) -> bool:
    """Return True if math-verify reads both as they are meant, and words of one are words of the other."""
    for text in (answer, key):
        if _SIDE_BY_SIDE.search(prepare_expression(text)) or _BASE.search(text):
            return False
    if any(_DATE.fullmatch(text) for text in (answer, key)):
        return False
    if any(_SET.fullmatch(text) and _TUPLE.fullmatch(other) for text, other in ((answer, key), (key, answer))):
        return False
    if _EQUATION.search(answer) and not _EQUATION.search(key) and not _is_assignment(answer):
        return False
    if any(_VARIABLE.search(text) and not _LETTER.search(other) for text, other in ((answer, key), (key, answer))):
        return False
    first, second = _words(answer), _words(key)
    return first == second or sorted("".join(first.elements())) == sorted("".join(second.elements()))


def _is_assignment(text: str) -> bool:
    """Return True if the left side is a name, or a number that the rest repeats: `x = 5`, `f(2) = 5`, `2 + 3 = 5`."""
    left = _EQUATION.split(text)[0]
    without_arguments = re.sub(r"_\s*(?:\{[^{}]*\}|\w)|\([^()]*\)", "", left)
    has_name = re.search(r"[A-Za-z]", re.sub(r"\\[a-zA-Z]+", "", left)) is not None
    return not has_name or re.search(r"[\d+*/^-]|\\(?:frac|sqrt|cdot|times|div|pm)", without_arguments) is None


def _words(text: str) -> Counter[str]:
    """Count the words of a text that are neither functions, units nor connectives."""
    words = (word.lower() for word in _WORD.findall(plain_text(text)))
    ignored = (_FUNCTIONS, _JOINING, HEDGES)
    return Counter(word for word in words if not any(word in names for names in ignored) and not _is_unit_word(word))
