r"""Plain numbers as written, without a unit: `1,234`, `2 2/3`, `-\frac{3}{4}`, `1.5e-3`, `0.\overline{3}`, `120_9`.

Most answers are such numbers. They are compared here exactly, without a computer algebra system. docs/grading.md states
the rules.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from repro.tasks.typography import strip_typography

__all__ = ["Numeral", "format_number", "is_rounding", "parse_number", "parse_numeral", "strip_typography"]

MAX_LENGTH = 64
MAX_EXPONENT = 400
SIGNIFICANT_DIGITS = 6
"""Minimum digits for a decimal to stand for a value with no exact decimal, such as 0.333333 for 1/3."""
DOUBLE_DIGITS = 15
"""Decimal digits that a double holds; further ones of a rounded decimal are not compared."""

_UNSIGNED = r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3}|\d+)(?:\.\d*)?|\.\d+"
_DECIMAL = re.compile(rf"([+-]?)\s?({_UNSIGNED})", re.ASCII)
_GROUPED = re.compile(r"([+-]?)\s?([1-9]\d{0,2}(?:([ '_])\d{3}(?:\3\d{3})*))([.,]\d{1,2}|\.\d*)?", re.ASCII)
_POINT_GROUPED = re.compile(
    r"([+-]?)\s?([1-9]\d{0,2}(?:\.\d{3})+)(,\d{1,2})|([+-]?)\s?([1-9]\d{0,2}(?:\.\d{3}){2,})", re.ASCII
)
_REPEATING = re.compile(
    r"([+-]?)\s?(\d*)\.(\d*)(?:\\overline\s*\{(\d+)\}|\\bar\s*\{?(\d+)\}?|\\dot\s*\{?(\d)\}?|\((\d+)\))", re.ASCII
)
_SCIENTIFIC = re.compile(
    rf"([+-]?)\s?({_UNSIGNED})(?:[eE]([+-]?\d{{1,4}})|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{{\s*([+-]?\d{{1,4}})\s*\}}|([+-]?\d{{1,4}})))"
    r"|([+-]?)\s?10\s*\^\s*(?:\{\s*([+-]?\d{1,4})\s*\}|(\d))",
    re.ASCII,
)
_PART = rf"[+-]?\s?(?:{_UNSIGNED})"
_RATIO = re.compile(
    rf"(?P<sign>[+-]?)\s?(?:(?P<over>{_UNSIGNED})\s*/\s*(?P<under>[+-]?(?:{_UNSIGNED}))"
    rf"|\\frac\s*(?:\{{\s*(?P<top>{_PART})\s*\}}\s*\{{\s*(?P<bottom>{_PART})\s*\}}"
    rf"|\{{\s*(?P<wide>{_PART})\s*\}}\s*(?P<low>\d)|(?P<high>\d)\s*\{{\s*(?P<deep>{_PART})\s*\}}"
    r"|\s*(?P<digit>\d)\s*(?P<digit2>\d)))",
    re.ASCII,
)
_MIXED = re.compile(r"([+-]?)\s?(\d{1,12})(?:\s*(\\frac.*)|\s+(?:and\s+)?(\d{1,12}\s*/\s*\d{1,12}))", re.ASCII)
_BASED = re.compile(
    r"\(?\s*([+-]?[0-9A-Za-z]+(?: [0-9A-Za-z]+)*)\s*\)?\s*"
    r"(?:_\s*\{\s*\(?\s*(?:base\s*)?(\w+)\s*\)?\s*\}|_\s*(\d{1,2})|[\s(,]+(?:in\s+)?base[\s-]+(\w+)\s*\)?)",
    re.ASCII | re.IGNORECASE,
)
_PREFIXED = re.compile(r"([+-]?)0([xob])([0-9a-f]+)", re.ASCII | re.IGNORECASE)
_PREFIX_BASES = {"x": 16, "o": 8, "b": 2}
_NAMES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
BASE_NAMES = {name: base for base, name in enumerate(_NAMES, start=2)} | {
    "sixteen": 16,
    "binary": 2,
    "octal": 8,
    "decimal": 10,
    "hexadecimal": 16,
}


@dataclass(frozen=True)
class Numeral:
    """A written number.

    Attributes:
        value: exact.
        base: None for ten. A number in another base equals only numbers in that base.
        digits: of a decimal, the significant ones as written; None for all else.
    """

    value: Fraction
    base: int | None = None
    digits: int | None = None


def parse_number(text: str) -> Fraction | None:
    """Return the value of a plain number in base ten without typography, None for all else."""
    numeral = parse_numeral(text)
    return None if numeral is None or numeral.base is not None else numeral.value


def parse_numeral(text: str) -> Numeral | None:
    """Return a plain number without typography and unit, None for all else."""
    if len(text) > MAX_LENGTH:
        return None
    if match := _DECIMAL.fullmatch(text):
        return _decimal(match[1], match[2].replace(",", ""))
    while len(text) > 2 and text[0] == "(" and text[-1] == ")" and "(" not in text[1:-1]:
        text = text[1:-1].strip()
    for pattern, read in _READERS:
        if match := pattern.fullmatch(text):
            return read(match)
    return None


def _decimal(sign: str, unsigned: str, exponent: int = 0) -> Numeral | None:
    if abs(exponent) > MAX_EXPONENT:
        return None
    value = Fraction(unsigned.rstrip(".") or "0") * Fraction(10) ** exponent
    digits = len(unsigned.replace(".", "").lstrip("0")) if "." in unsigned or exponent else None
    return Numeral(-value if sign == "-" else value, digits=digits)


def _read_grouped(match: re.Match[str]) -> Numeral | None:
    """`1 234 567.8`; after spaces and apostrophes a comma is a decimal mark too."""
    return _decimal(match[1], match[2].replace(match[3], "") + (match[4] or "").replace(",", "."))


def _read_point_grouped(match: re.Match[str]) -> Numeral | None:
    """`1.234,56` and `1.234.567`, which no other reading fits; `1.234` is a decimal."""
    if match[2]:
        return _decimal(match[1], match[2].replace(".", "") + match[3].replace(",", "."))
    return _decimal(match[4], match[5].replace(".", ""))


def _read_repeating(match: re.Match[str]) -> Numeral | None:
    sign, whole, fixed = match[1], match[2] or "0", match[3]
    period = match[4] or match[5] or match[6] or match[7]
    scale = 10 ** len(fixed)
    value = Fraction(int(whole + fixed), scale) + Fraction(int(period), scale * (10 ** len(period) - 1))
    return Numeral(-value if sign == "-" else value)


def _read_scientific(match: re.Match[str]) -> Numeral | None:
    if match[2]:
        return _decimal(match[1], match[2].replace(",", ""), int(match[3] or match[4] or match[5]))
    numeral = _decimal(match[6], "1", int(match[7] or match[8]))
    return numeral and Numeral(numeral.value)


def _read_ratio(match: re.Match[str]) -> Numeral | None:
    top = match["over"] or match["top"] or match["wide"] or match["high"] or match["digit"]
    bottom = match["under"] or match["bottom"] or match["low"] or match["deep"] or match["digit2"]
    numerator, denominator = (_part(part) for part in (top, bottom))
    if denominator == 0:
        return None
    return Numeral(numerator / denominator * (-1 if match["sign"] == "-" else 1))


def _part(text: str) -> Fraction:
    unsigned = text.replace(",", "").replace(" ", "")
    sign = -1 if unsigned.startswith("-") else 1
    return sign * Fraction(unsigned.lstrip("+-").rstrip(".") or "0")


def _read_mixed(match: re.Match[str]) -> Numeral | None:
    """`2 2/3` = 8/3. A fraction of 1 or more, or a signed one, does not follow a whole number: no number at all."""
    ratio = _RATIO.fullmatch(match[3] or match[4])
    fraction = _read_ratio(ratio) if ratio and not ratio["sign"] else None
    if fraction is None or not 0 < fraction.value < 1:
        return None
    value = int(match[2]) + fraction.value
    return Numeral(-value if match[1] == "-" else value)


def _read_based(match: re.Match[str]) -> Numeral | None:
    name = (match[2] or match[3] or match[4]).lower()
    base = int(name) if name.isdecimal() else BASE_NAMES.get(name, 0)
    return _in_base(match[1].replace(" ", ""), base)


def _read_prefixed(match: re.Match[str]) -> Numeral | None:
    return _in_base(match[1] + match[3], _PREFIX_BASES[match[2].lower()])


def _in_base(digits: str, base: int) -> Numeral | None:
    try:
        value = Fraction(int(digits, base)) if 2 <= base <= 36 else None
    except ValueError:  # a digit that the base does not have
        return None
    return value if value is None else Numeral(value, base=None if base == 10 else base)


_READERS = (
    (_DECIMAL, lambda match: _decimal(match[1], match[2].replace(",", ""))),
    (_RATIO, _read_ratio),
    (_MIXED, _read_mixed),
    (_GROUPED, _read_grouped),
    (_POINT_GROUPED, _read_point_grouped),
    (_SCIENTIFIC, _read_scientific),
    (_REPEATING, _read_repeating),
    (_PREFIXED, _read_prefixed),
    (_BASED, _read_based),
)


def is_rounding(decimal: Numeral, exact: Fraction) -> bool:
    """Return True if a decimal of six or more significant digits is the value rounded or truncated to that many."""
    if decimal.digits is None or decimal.digits < SIGNIFICANT_DIGITS or exact * decimal.value <= 0:
        return False
    digits = min(decimal.digits, DOUBLE_DIGITS)
    unit = Fraction(10) ** (_exponent_of(abs(exact)) - digits + 1)
    shown, target = abs(decimal.value) / unit, abs(exact) / unit
    return round(shown) == round(target) or shown == int(target)


def _exponent_of(value: Fraction) -> int:
    """Return the power of ten of the first significant digit."""
    exponent = len(str(value.numerator)) - len(str(value.denominator))
    return exponent - (value < Fraction(10) ** exponent)


def is_terminating(value: Fraction) -> bool:
    """Return True if the value has an exact decimal."""
    remainder = value.denominator
    for prime in (2, 5):
        while remainder % prime == 0:
            remainder //= prime
    return remainder == 1


def format_number(value: Fraction) -> str:
    """Return one spelling per value: an integer, a terminating decimal, or a reduced fraction."""
    if not is_terminating(value):
        return f"{value.numerator}/{value.denominator}"
    with localcontext() as context:
        context.prec = 8 * MAX_LENGTH + 2 * MAX_EXPONENT
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
