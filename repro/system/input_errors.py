"""Building blocks for input error messages: what was probably meant, and what is wrong with a value."""

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic_core import ErrorDetails

_PROBLEMS = {
    "extra_forbidden": "no such key",
    "float_parsing": "not a number",
    "float_type": "not a number",
    "int_parsing": "not a whole number",
    "int_type": "not a whole number",
    "int_from_float": "not a whole number",
    "bool_parsing": "neither true nor false",
    "bool_type": "neither true nor false",
    "string_type": "not a text",
}
"""pydantic error type -> our wording; other types keep pydantic's message, which names the bound or the choices."""


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """Return "Did you mean x? " with up to `count` similar names; empty if there are none."""
    near = difflib.get_close_matches(name, [*known], n=count, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}? " if near else ""


def did_you_mean_path(path: Path, *, is_folder: bool = True) -> str:
    """Return the same for a missing path, from its sibling folders (or files)."""
    try:
        beside: Collection[str] = [entry.name for entry in path.parent.iterdir() if entry.is_dir() == is_folder]
    except OSError:
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.75)
    return f"Did you mean {path.parent / near[0]}? " if near else ""


def describe_problem(error: ErrorDetails) -> str:
    """Describe what is wrong with a value in plain words, without its name."""
    if error["type"] == "too_short":
        return "give {min_length} or more, separated by commas; there are {actual_length}".format(**error["ctx"])
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return _PROBLEMS.get(error["type"], message)
