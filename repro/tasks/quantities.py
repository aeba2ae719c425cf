r"""Numbers and their surroundings: a label, a currency, a unit, a scaling word.

`x = 5`, `\$5`, `5 \text{ cm}^2`, `5 thousand`, `50\%`, `twenty-one`. docs/grading.md states the rules.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from repro.tasks.numerals import DOUBLE_DIGITS, Numeral, is_rounding, is_terminating, parse_numeral
from repro.tasks.typography import plain_text, strip_typography
from repro.tasks.units import (
    ABBREVIATIONS,
    MONEY,
    NUMBER_WORDS,
    OTHER_VALUE,
    SCALES,
    SENTENCE,
    UNIT_NAMES,
    canonical_unit,
    is_same_unit,
    scale_of,
)

MAX_LENGTH = 160
MAX_UNIT_WORDS = 8

_LABEL = re.compile(
    r"(?P<name>[A-Za-z\\|][^=:<>+*/^,;\d-]{0,60}?(?:_\s*(?:\{[^{}]{0,20}\}|\w)|\([^()=]{0,20}\))?'?)\s*"
    r"(?P<mark>=|:|\b(?:is|are|equals|was|will be|would be|is equal to)\b(?:\s*[:=])?)\s*(?=\S)"
)
_NOT_NAME = re.compile(r"\\(?:frac|sqrt|cdot|times|div|pm|mp|ne|neq|not)(?![a-z])")
_HEDGE = re.compile(
    r"(?:\\approx|\\simeq|\\sim(?![a-z])|(?:about|approximately|approx\.?|roughly|around|exactly|only)\b)\s*",
    re.IGNORECASE,
)
_SIGN_WORD = re.compile(r"(?:negative|minus)\s+(?=\S)", re.IGNORECASE)
_CURRENCY = "|".join(
    sorted(
        map(re.escape, (*MONEY, *(name.upper() for name in MONEY if name.isalpha()), "US\\$", "Rs.", "Rs")),
        key=len,
        reverse=True,
    )
)
_MONEY_FIRST = re.compile(rf"([+-]?)\s*(?:{_CURRENCY})\s*(?=[\d.+(\\-])")
_TAIL = re.compile(
    r"(?P<number>.*?[\d)}.])(?P<ordinal>(?:st|nd|rd|th)\b|\s*\^\s*\{\s*(?:st|nd|rd|th)\s*\})?"
    r"(?P<rest>\s*(?:\\?[%$€£¥₹¢]|\^\s*\{?\s*\\circ\s*\}?|(?:\s|(?<=\d))\\frac\s*\{[A-Za-z ]{1,20}\}\s*\{[A-Za-z ]{1,20}\}"
    r"|(?<![A-Za-z\\])[A-Za-z][A-Za-z.'/\s-]*)"
    r"(?:\s*(?:[A-Za-z./'\s-]|\^\s*\{?\s*-?\d\s*\}?|\([A-Za-z ]{1,20}\)))*)?",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\d[a-jl-z](?![A-Za-z])")
_ATTACHED = frozenset("mgshlkKML")
"""Single letters directly after a number that are a unit or a scale; others are variables."""


@dataclass(frozen=True)
class Quantity:
    """A number and its surroundings.

    Attributes:
        numeral: without its scale.
        scales: words that multiply it, in the spelling of `SCALES`.
        unit: canonical; empty if none.
        name: the other side of an equation (`x` in `x = 5`); empty if none, or a mere label.
    """

    numeral: Numeral
    scales: tuple[str, ...] = ()
    unit: str = ""
    name: str = ""

    def value(self, ignored: frozenset[str] = frozenset()) -> Fraction:
        """Return the value, without the scales to ignore."""
        value = self.numeral.value
        for scale in self.scales:
            value *= 1 if scale in ignored else SCALES[scale]
        return value


def asked_scales(question: str) -> frozenset[str]:
    """Return the scales that a question names: its key is a number of them ("What percent ...?", "How many dozens ...?")."""
    words = re.findall(r"[A-Za-z]+|%", question)
    return frozenset(scale for word in words if (scale := scale_of(word)) and word.lower() != "k")


def is_same_quantity(answer: Quantity, key: Quantity, question: str = "") -> bool:
    """Return True if both are one value in one unit. A scale that the question asks in may be left out, or added."""
    if answer.numeral.base != key.numeral.base or not is_same_unit(answer.unit, key.unit):
        return False
    if answer.name and key.name and answer.name != key.name:
        return False
    if _is_same_value(answer, key, frozenset()):
        return True
    if answer.scales == key.scales or not question:
        return False
    optional = frozenset(answer.scales) ^ frozenset(key.scales)
    return optional <= asked_scales(question) and _is_same_value(answer, key, optional)


def _is_same_value(answer: Quantity, key: Quantity, ignored: frozenset[str]) -> bool:
    first, second = answer.value(ignored), key.value(ignored)
    if first == second:
        return True
    if answer.scales or key.scales:
        return False
    return (_is_real(key.numeral) and is_rounding(answer.numeral, second)) or (
        not is_terminating(first) and is_rounding(key.numeral, first)
    )


def _is_real(key: Numeral) -> bool:
    """Return True for a key with no exact decimal, or with all digits of a double, which is itself rounded."""
    return not is_terminating(key.value) or (key.digits or 0) >= DOUBLE_DIGITS


def parse_quantity(text: str, *, is_key: bool = False) -> Quantity | None:
    """Return the quantity that a text without typography is; None for expressions, lists and all else.

    Args:
        is_key: `3s` is three times s, not three seconds, so that 3 does not equal it.
    """
    if len(text) > MAX_LENGTH:
        return None
    if numeral := parse_numeral(text):
        return Quantity(numeral)
    text = strip_typography(plain_text(text))
    name, text = split_label(re.sub(r"\bper cent\b", "percent", text))
    text = strip_typography(text)
    sign = 1
    unit = ""
    for _ in range(4):
        if hedge := _HEDGE.match(text):
            text = text[hedge.end() :]
        elif word := _SIGN_WORD.match(text):
            sign, text = -sign, text[word.end() :]
        elif money := _MONEY_FIRST.match(text):
            unit = canonical_unit(money[0].strip(" +-").replace("\\", ""))
            text = money[1] + text[money.end() :]
        else:
            break
    if is_key and _VARIABLE.search(text):
        return None
    parsed = _parse_measure(text.strip())
    if parsed is None or (sign < 0 and parsed.numeral.value < 0):
        return None
    if unit and parsed.unit and not is_same_unit(unit, parsed.unit):
        return None
    numeral = Numeral(sign * parsed.numeral.value, parsed.numeral.base, parsed.numeral.digits)
    return Quantity(numeral, parsed.scales, parsed.unit or unit, name)


def split_label(text: str) -> tuple[str, str]:
    """Split `x = 5` into name and number; the name of a mere label ("The answer is 5", "Total: 5") is empty."""
    match = _LABEL.match(text)
    if match is None or _NOT_NAME.search(match["name"]) or OTHER_VALUE & set(match["name"].lower().split()):
        return "", text
    name = re.sub(r"[\s{}\\]|text|mathrm", "", match["name"])
    is_label = match["mark"] != "=" or len(re.findall(r"[A-Za-z]{3,}", name)) > 0
    if match["mark"] == ":" and len(name) == 1:
        return "", text
    return ("" if is_label else name), text[match.end() :]


def _parse_measure(text: str) -> Quantity | None:
    """Return number, scales and unit of a text without label and currency in front."""
    if numeral := parse_numeral(text):
        return Quantity(numeral)
    if words := _parse_words(text):
        return words
    match = _TAIL.fullmatch(text)
    if match is None:
        return None
    numeral = parse_numeral(match["number"].strip())
    if numeral is None or (match["ordinal"] and (match["rest"] or "").strip()):
        return None
    return _with_tail(numeral, match["rest"] or "")


def _with_tail(numeral: Numeral, tail: str) -> Quantity | None:
    """Return a number with the words after it; None if one of them changes its value."""
    words = tail.replace("\\%", "%").replace("\\$", "$").split()
    if not words:
        return Quantity(numeral)
    is_attached = not tail[:1].isspace() and tail[:1].isalpha()
    first = re.split(r"[/^.]", words[0])[0]
    if is_attached and not (
        (first in _ATTACHED and tail.strip() == first)
        or (len(first) > 1 and (first.lower() in UNIT_NAMES or scale_of(first)))
    ):
        return None
    scales: list[str] = []
    if is_attached and words[0] == "M":
        scales, words = ["million"], words[1:]
    elif words[0] in ("K", "k") and (is_attached or words[0] == "k"):
        scales, words = ["thousand"], words[1:]
    while words and (scale := scale_of(words[0].strip("-"))) and words[0] not in ("k", "K"):
        scales.append(scale)
        words = words[1:]
        if words[:1] in (["of"], ["a"], ["an"]):
            words = words[1:]
    rest = [word.strip("()-'.").lower() for word in words]
    if any(
        "." in word.rstrip(".,") or (word.endswith(".") and word[:-1].lower() not in ABBREVIATIONS)
        for word in words[:-1]
    ):
        return None
    if (
        len(words) > MAX_UNIT_WORDS
        or (OTHER_VALUE | SENTENCE) & set(rest)
        or any(scale_of(word) and word != "k" for word in rest)
    ):
        return None
    if any(len(word) == 1 and word.isalpha() and word not in UNIT_NAMES and word != "a" for word in rest):
        return None
    return Quantity(numeral, tuple(scales), canonical_unit(" ".join(words)))


def _parse_words(text: str) -> Quantity | None:
    """Return the quantity of number words: `five`, `twenty-one`, `two hundred five`, `half`, `two thirds`, `a dozen eggs`."""
    words = text.lower().replace("-", " ").split()
    if not words or not words[0].isalpha():
        return None
    total, group, used = 0, 0, 0
    for word in words:
        if word in NUMBER_WORDS and not (group % 100 and (group % 10 or NUMBER_WORDS[word] >= 10)):
            group += NUMBER_WORDS[word]
        elif word == "hundred" and 0 < group < 10:
            group *= 100
        elif word in ("thousand", "million", "billion") and group:
            total, group = total + group * int(SCALES[word]), 0
        elif word != "and" or not used or words[used - 1] not in ("hundred", "thousand"):
            break
        used += 1
    if not used and (words[0] in ("a", "an", "one") or scale_of(words[0])):
        total, used = 1, int(words[0] in ("a", "an"))
    if not used and not scale_of(words[0]):
        return None
    return _with_tail(Numeral(Fraction(total + group)), " " + " ".join(words[used:]))
