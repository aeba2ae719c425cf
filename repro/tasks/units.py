"""Words and signs next to a number: those that change its value, units, and fillers.

A table, not a physics library: units are compared, never converted.
"""

import re
from fractions import Fraction


def _split(text: str) -> list[str]:
    return text.split()


SCALES: dict[str, Fraction] = {
    "%": Fraction(1, 100),
    "pair": Fraction(2),
    "ten": Fraction(10),
    "dozen": Fraction(12),
    "score": Fraction(20),
    "gross": Fraction(144),
    "hundred": Fraction(100),
    "thousand": Fraction(10**3),
    "lakh": Fraction(10**5),
    "million": Fraction(10**6),
    "crore": Fraction(10**7),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
    "quadrillion": Fraction(10**15),
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "fourth": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "seventh": Fraction(1, 7),
    "eighth": Fraction(1, 8),
    "ninth": Fraction(1, 9),
    "tenth": Fraction(1, 10),
    "hundredth": Fraction(1, 100),
    "thousandth": Fraction(1, 1000),
    "millionth": Fraction(1, 10**6),
}
"""Factor a word applies to the preceding number, unless the question asks in that unit."""
_SCALE_SPELLINGS = {
    "percent": "%",
    "percentage": "%",
    "pct": "%",
    "halves": "half",
    "k": "thousand",
    "mn": "million",
    "mil": "million",
    "bn": "billion",
    "tn": "trillion",
    "couple": "pair",
    "per cent": "%",
    "doz": "dozen",
    "thou": "thousand",
    "grand": "thousand",
    "mill": "million",
    "mln": "million",
    "bil": "billion",
    "tens": "ten",
}
_UNITS = {
    "m": "meter metre",
    "km": "kilometer kilometre kms",
    "cm": "centimeter centimetre cms",
    "mm": "millimeter millimetre",
    "ft": "foot feet",
    "in": "inch inches",
    "yd": "yard",
    "mi": "mile",
    "g": "gram gramme gm gr",
    "kg": "kilogram kilo kgs",
    "mg": "milligram",
    "lb": "pound lbs",
    "oz": "ounce",
    "ton": "tonne t",
    "l": "liter litre",
    "ml": "milliliter millilitre",
    "gal": "gallon",
    "qt": "quart",
    "pt": "pint",
    "cup": "",
    "s": "second sec secs",
    "ms": "millisecond",
    "min": "minute mins",
    "h": "hour hr hrs",
    "day": "",
    "week": "wk",
    "month": "",
    "year": "yr yrs",
    "deg": "degree degrees \\circ",
    "rad": "radian",
    "$": "dollar usd us$ buck \\$",
    "cent": "cents ¢",
    "€": "euro eur",
    "£": "gbp quid",
    "¥": "yen jpy yuan cny rmb",
    "₹": "rupee rs inr",
    "mph": "",
    "kph": "",
    "a": "amp ampere",
    "v": "volt",
    "w": "watt",
    "kw": "kilowatt",
    "n": "newton",
    "j": "joule",
    "hz": "hertz",
    "pa": "pascal",
    "c": "celsius",
    "f": "fahrenheit",
    "acre": "",
}
UNIT_NAMES = {spelling: unit for unit, spellings in _UNITS.items() for spelling in (unit, *spellings.split())}
ABBREVIATIONS = frozenset({*UNIT_NAMES, "sq", "cu", "approx", "u", "s", "a", "p"})
"""Words that a full stop may follow within a unit."""
MONEY = {unit: unit for unit in "$€£¥₹"} | {
    name: unit for unit in "$€£¥₹" for name in _UNITS[unit].split() if name not in ("buck", "quid", "rupee", "dollar")
}
NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        _split(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
            " eighteen nineteen"
        )
    )
} | {word: 10 * n for n, word in enumerate(_split("twenty thirty forty fifty sixty seventy eighty ninety"), start=2)}
OTHER_VALUE = frozenset(
    _split(
        "or and to more less fewer greater smaller larger than under over below above minus plus times by into squared cubed"
        " cube root factorial choose modulo mod remainder negative pi sqrt base not no nor neither none between least"
        " most never without except off short half nth points point repeating recurring power infinity twice double triple thrice fold googol"
    )
)
"""Words after a number that change its value or meaning in ways not handled here."""
SENTENCE = frozenset(_split("is are was were be has have but because since so if then the this that which where"))
"""Words after a number that continue a sentence: not units."""
HEDGES = frozenset(
    _split("about approximately approx roughly around exactly precisely only just simply a an the total")
)

_CASED = re.compile(r"[mM](W|Wh|Hz|V|eV|A|J|N|Pa)|[kKMGT]?[bB]")
"""Case-sensitive symbols: mega or milli, bytes or bits."""
_WORD = re.compile(r"[A-Za-z]+\.?|[%$€£¥₹¢]|\^\s*\{?\s*-?\d\s*\}?|\\circ|/")


def scale_of(word: str) -> str | None:
    """Return the key in `SCALES` of a word in any spelling, None for other words."""
    word = word.lower().rstrip(".")
    word = _SCALE_SPELLINGS.get(word, word)
    return word if word in SCALES else word[:-1] if word.endswith("s") and word[:-1] in SCALES else None


def canonical_unit(text: str) -> str:
    """Return one spelling of a unit: `square feet`, `sq. ft.` and `ft^{2}` are all `ft^2`; other nouns in the singular."""
    parts: list[str] = []
    power = ""
    for word in _WORD.findall(text.replace("\\frac", " ").replace("}{", "/")):
        word = word.rstrip(".")
        word = word if _CASED.fullmatch(word) else word.lower()
        if word in ("square", "sq", "cubic", "cu"):
            power = "^2" if word.startswith("sq") else "^3"
        elif word.startswith("^"):
            parts[-1:] = [(parts[-1] if parts else "") + "^" + re.sub(r"[^\d-]", "", word)]
        elif word in ("per", "/"):
            parts.append("/")
        elif word not in HEDGES and word not in ("of", "in", "unit", "units"):
            parts.append(_singular(word) + power)
            power = ""
    return {"mi / h": "mph", "km / h": "kph"}.get(" ".join(parts), " ".join(parts))


def _singular(word: str) -> str:
    if word in UNIT_NAMES:
        return UNIT_NAMES[word]
    single = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    return UNIT_NAMES.get(single, single)


def is_same_unit(first: str, second: str) -> bool:
    """Return True for canonical units that agree: equal, one of them missing, or nouns of which one says more."""
    if first == second or not first or not second:
        return True
    words = [set(unit.split()) for unit in (first, second)]
    known = {word for unit in words for word in unit if word.partition("^")[0] in _UNITS or word == "/"}
    return not known and (words[0] <= words[1] or words[1] <= words[0])
