r"""Answer typography: decoration that does not change the value (`**5**`, `$5$`, `\mathbf{5}`, `5.`)."""

import re
import unicodedata

MAX_LENGTH = 400
"""Characters. A longer answer is no plain number, and the searches below are not meant for it."""
MAX_LAYERS = 8
"""Decorations inside each other."""

TEXT_COMMANDS = (
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal|up|md)?|math(?:bf|rm|it|sf|tt|normal|bb|cal)|mbox|hbox|emph|underline|uline"
    r"|boldsymbol|bold|bm|pmb|boxed|fbox|tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|rm|it|sf|tt|ensuremath)"
)
_COMMAND_START = re.compile(rf"{TEXT_COMMANDS}\s*\{{")
_COMMAND = re.compile(rf"{TEXT_COMMANDS}\s*\{{([^{{}}]*)\}}")
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("***", "***"),
    ("==", "=="),
    ("«", "»"),
    ("**", "**"),
    ("__", "__"),
    ("*", "*"),
    ("_", "_"),
    ("```", "```"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
    ("``", "''"),
    ("{", "}"),
)
_SWITCHES = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|limits|bf|rm|it|sf|tt|tiny|small|normalsize|large|Large|LARGE"
    r"|huge|Huge|bfseries|itshape|centering|checkmark|blacksquare|square|qed|newline|hfill|par|noindent)(?![A-Za-z])"
    r"|\\(?:left|right)(?![A-Za-z])\.?|\\(?:text)?color\s*\{[^{}]*\}"
)
_BLANKS = re.compile(
    r"\\[!;:]|\\q?quad(?![A-Za-z])|\\(?:[hv]?phantom|[hv]space\*?)\s*\{[^{}]*\}"
    r"|</?(?:b|i|u|em|strong|br|p|span|code)\s*/?>"
)
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\{ \}|\\,|,\\!|\\[;: ]|~)(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\(?:[dtcsx]|nice)frac(?![A-Za-z])")
_OUTER = re.compile(r"^(?:\\\\|[=:~\s#&•]|\\[,; ])+|(?:\\\\|[\s,;:~]|\\[,; ]|(?<!\\left)(?<!\\right)\.)+$")
_MATRIX = re.compile(r"\{[bB]matrix\}")
_RANGE = re.compile("(\\W*[\\d.,]+)\\s?\N{EN DASH}\\s?([\\d.,]+\\W*)")  # from 3 to 5, not 3 - 5
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{FIGURE DASH}\N{HYPHEN}\N{NON-BREAKING HYPHEN}\uff0d\ufe63", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u2713\u2714\u2705\ufe0f", ""),
        **dict.fromkeys("\u201c\u201d", '"'),
        **dict.fromkeys("\u2018\u2019", "'"),
        "\N{FRACTION SLASH}": "/",
        "\N{DIVISION SIGN}": "/",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "\N{DOT OPERATOR}": r"\cdot ",
        "\N{MIDDLE DOT}": r"\cdot ",
        "\N{DEGREE SIGN}": r"^\circ ",
        "\N{GREEK SMALL LETTER PI}": r"\pi ",
        "\N{INFINITY}": r"\infty ",
        "\N{SQUARE ROOT}": r"\sqrt ",
        "\N{LESS-THAN OR EQUAL TO}": r"\le ",
        "\N{GREATER-THAN OR EQUAL TO}": r"\ge ",
        "\N{NOT EQUAL TO}": r"\ne ",
        "\N{ALMOST EQUAL TO}": r"\approx ",
        "\N{PLUS-MINUS SIGN}": r"\pm ",
        **{mark: chr(ord(mark) - 0xFEE0) for mark in "\uff0b\uff0c\uff0e\uff0f\uff05\uff08\uff09\uff1a\uff1d"},
    }
)


def strip_typography(text: str) -> str:
    """Remove typography: delimiters, fonts, colours, spacing commands, thousands separators, final punctuation."""
    text = " ".join((text if text.isascii() else _to_ascii(text)).split())
    if text.isalnum() or len(text) > MAX_LENGTH:
        return text.rstrip(".")
    text = _THOUSANDS.sub("", text)
    for _ in range(MAX_LAYERS):
        before = text
        text = _OUTER.sub("", _without_pair(_BLANKS.sub(" ", _SWITCHES.sub("", text)).strip()))
        if text == before:
            break
    text = _MATRIX.sub("{pmatrix}", _FRACTION.sub(r"\\frac", text)).replace(r"\degree", r"^\circ")
    return " ".join(text.split())


def plain_text(text: str) -> str:
    r"""Replace font and text commands by their content: `5\,\text{cm}` becomes `5 cm`. text: without typography."""
    for _ in range(MAX_LAYERS):
        before = text
        text = _COMMAND.sub(r" \1 ", text)
        if text == before:
            break
    return " ".join(text.replace(r"\,", " ").replace(r"\ ", " ").replace("~", " ").replace(r"\&", "&").split())


def _without_pair(text: str) -> str:
    """Remove one pair of delimiters, or one font command, around the whole text."""
    for opening, closing in _PAIRS:
        inner = text.removeprefix(opening).removesuffix(closing)
        is_around = len(text) > len(opening + closing) and len(inner) == len(text) - len(opening + closing)
        if is_around and not (opening == "{" and _closes_early(inner)) and (opening == "{" or opening not in inner):
            return inner.strip()
    if (start := _COMMAND_START.match(text)) and text.endswith("}") and not _closes_early(text[start.end() : -1]):
        return text[start.end() : -1].strip()
    return text


def _closes_early(inner: str) -> bool:
    """Return True if the brace before `inner` closes within it, so that the outer braces are not a pair."""
    depth = 0
    for position, character in enumerate(inner):
        if character in "{}" and inner[position - 1 : position] != "\\":
            depth += 1 if character == "{" else -1
            if depth < 0:
                return True
    return depth != 0


def _to_ascii(text: str) -> str:
    """Write digits, signs and fractions of other scripts and widths as LaTeX with ASCII characters."""
    if between := _RANGE.fullmatch(text):
        text = f"{between[1]} to {between[2]}"
    return "".join(
        character if character.isascii() else _ascii_of(character) for character in text.translate(_CHARACTERS)
    )


def _ascii_of(character: str) -> str:
    category, decomposition = unicodedata.category(character), unicodedata.decomposition(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    if decomposition.startswith("<fraction>"):
        numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("\N{FRACTION SLASH}")
        return rf"\frac{{{numerator}}}{{{denominator}}}" if denominator else character
    for tag, mark in (("<super>", "^"), ("<sub>", "_")):
        digit = unicodedata.normalize("NFKC", character)
        if decomposition.startswith(tag) and digit.isdecimal():
            return f"{mark}{{{digit}}}"
    return character
