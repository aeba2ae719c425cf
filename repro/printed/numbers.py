"""Numbers as the paper prints them: value, unit and the implied rounding."""

import re
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:E[+-]\d+)?%?")
# What may stand between the numbers of one cell: "0.639 [0.652, 0.793]", "135.1 (22.8%)", "89–95%".
_GLUE = re.compile(r"[\s\[\](),–]*")


@dataclass(frozen=True)
class PrintedNumber:
    """One printed number.

    Attributes:
        text: the characters on the page, without brackets.
        value: the number; a percentage is a fraction here ("22.8%" is 0.228).
        half_unit: half a unit of the last printed digit, in the unit of `value`: the truth is within.
    """

    text: str
    value: float
    half_unit: float


def parse_cell(text: str) -> list[PrintedNumber]:
    """Read every number of a printed cell, in order. In a range like "89–95%" the last sign stands for both.

    Raises:
        ValueError: the cell holds anything but numbers and their brackets.
    """
    numbers = _NUMBER.findall(text)
    rest = _NUMBER.sub("", text)
    if not numbers or not _GLUE.fullmatch(rest):
        raise ValueError(
            f"{text!r} is not a printed number such as '0.639 [0.652, 0.793]', '135.1 (22.8%)' or '9.25E-01'"
        )
    is_percent_range = "–" in text and text.rstrip().endswith("%")
    return [_parse_number(number, is_percent=is_percent_range or number.endswith("%")) for number in numbers]


def _parse_number(text: str, is_percent: bool) -> PrintedNumber:
    # Decimal arithmetic: 65.6 / 100 in binary would not be the float that 0.656 is.
    digits = Decimal(text.rstrip("%")) / (100 if is_percent else 1)
    mantissa, _, exponent = text.rstrip("%").partition("E")
    last = int(exponent or 0) - len(mantissa.partition(".")[2]) - (2 if is_percent else 0)
    return PrintedNumber(text=text, value=float(digits), half_unit=float(Decimal(5).scaleb(last - 1)))
