r"""Plain numbers as they are written: `1,234`, `10{,}000`, `-\frac{3}{4}`, `3/4`, `\$5`, `18 eggs`.

Most answers are such numbers. They are compared here exactly, without a computer algebra system.
"""

import re
from decimal import Decimal, localcontext
from fractions import Fraction

MAX_LENGTH = 64

_WRAPPERS = (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_NOISE = re.compile(r"\\(?:displaystyle|left|right|limits)(?![A-Za-z])|\\[!;:]|\\(?:q?quad)(?![A-Za-z])")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\,|,\\!|~|\\ )(?=\d{3}(?!\d))")
_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_DECIMAL = re.compile(rf"([+-]?)(?:\\?\$)?({_UNSIGNED})")
_RATIO = re.compile(r"([+-]?)(\d+)\s*/\s*(\d+)|([+-]?)\\frac\s*(?:\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)(\d))")
_COUNTED = re.compile(r"(\S+)\s+([A-Za-z]{2,}(?:\s[A-Za-z]{2,})*)")
# A number before one of these words has another value or meaning.
_MEANINGFUL = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|percent|half|quarter|third"
    r"|and|or|to|pi|sqrt|mod|over|plus|minus|times|by|remainder)\b",
    re.IGNORECASE,
)


def strip_typography(text: str) -> str:
    """Remove typography: delimiters, spacing commands, thousands separators, a full stop."""
    text = " ".join(text.split()).replace("\N{MINUS SIGN}", "-")
    for opening, closing in _WRAPPERS:
        inner = text.removeprefix(opening).removesuffix(closing)
        if len(inner) == len(text) - len(opening + closing) and opening not in inner:
            text = inner
    text = _THOUSANDS.sub("", _NOISE.sub("", text)).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
    return text.strip().rstrip(".").strip()


def parse_number(text: str) -> Fraction | None:
    """Return the value of a plain number without typography, None for all else (percentages, units, expressions, lists)."""
    if len(text) > MAX_LENGTH:
        return None
    if (counted := _COUNTED.fullmatch(text)) and not _MEANINGFUL.search(counted[2]):
        text = counted[1]
    if match := _DECIMAL.fullmatch(text):
        return Fraction(match[1] + match[2].replace(",", ""))
    if match := _RATIO.fullmatch(text):
        sign, numerator, denominator = (
            (match[1], match[2], match[3]) if match[2] else (match[4], match[5] or match[7], match[6] or match[8])
        )
        if int(denominator) != 0:
            return Fraction(int(numerator), int(denominator)) * (-1 if sign == "-" else 1)
    return None


def format_number(value: Fraction) -> str:
    """Return one spelling per value: an integer, a terminating decimal, or a reduced fraction."""
    remainder = value.denominator
    for prime in (2, 5):
        while remainder % prime == 0:
            remainder //= prime
    if remainder != 1:
        return f"{value.numerator}/{value.denominator}"
    with localcontext() as context:
        context.prec = 8 * MAX_LENGTH
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
