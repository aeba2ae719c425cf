"""Make text from models and files safe to display: invisible characters are shown by their code."""

import re
import unicodedata

LONGEST = 4_000
"""Characters of a prompt or completion that are stored; a cut is marked."""
_LINE_ENDS = re.compile(r"\r\n|\r|\u2028|\u2029|\x85")


def visible(text: str, lines: bool = False) -> str:
    """Show characters that are invisible, or that would reorder others, by their code.

    Control characters (C0, C1), format characters (direction marks and overrides, zero-width joiners, byte order
    marks), lone surrogates and noncharacters become e.g. ⟨U+202E⟩. Not an escape for HTML: the template does that.

    Args:
        lines: keep line ends and tabs.
    """
    if lines:
        text = _LINE_ENDS.sub("\n", text)
    allowed = "\n\t" if lines else ""
    return "".join(c if c in allowed or not _is_hidden(c) else f"⟨U+{ord(c):04X}⟩" for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def slug(text: str) -> str:
    """Turn a text into part of an id: letters, digits, dots, dashes; the rest becomes underscores."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", text)


def cut(text: str) -> str:
    """Cut a long text, and say how much is left out."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [{len(text) - LONGEST:,} more characters]"


def sentence(text: str) -> str:
    """Make a sentence of a text: a capital first, a full stop at the end."""
    return f"{capitalise(text)}."


def capitalise(text: str) -> str:
    """Begin a text with a capital, and leave all other letters as they are."""
    return f"{text[:1].upper()}{text[1:]}"
