"""Read the stored TOML files, with errors that name file, line and key."""

import functools
import hashlib
import tomllib
from bisect import bisect_left
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from repro.errors import InputError
from repro.printed.schema import Strict
from repro.system.input_errors import describe_problem

KeyPath = tuple[int | str, ...]  # e.g. ("claims", 3, "margin")

_Shape = TypeVar("_Shape", bound=Strict)


def paper_tables_folder() -> Path:
    """Return `paper_tables/` next to the package in a checkout, else the copy that the installed package carries."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package.parent / "paper_tables", package / "_paper_tables")
    for folder in candidates:
        if (folder / "legend.toml").is_file():
            return folder
    raise InputError(
        f"no stored tables in {candidates[0]} or {candidates[1]}: reinstall the package or use a checkout."
    )


def stored_hashes(folder: Path | None = None) -> dict[str, str]:
    """Return the sha256 of every stored file by name: what a result was judged against, including margins."""
    files = sorted((folder or paper_tables_folder()).glob("*.toml"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_toml(path: Path, shape: type[_Shape]) -> tuple[_Shape, str]:
    """Read the file as `shape`; return it with its text, for `file_error`. Equal texts are parsed once, so change no value.

    Raises:
        InputError: not readable, not TOML, or not of that shape (names line and key).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise InputError(f"{path}: {cause.strerror}. Name a TOML file.") from None
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: not UTF-8 text ({cause.reason} at byte {cause.start}).") from None
    return _parse(path, text, shape), text


@functools.lru_cache(maxsize=64)
def _parse(path: Path, text: str, shape: type[_Shape]) -> _Shape:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise InputError(f"{path.name}: not TOML: {cause}.") from None  # the message carries line and column
    try:
        # Not strict: TOML has arrays where the shapes have tuples.
        return shape.model_validate(content, strict=False)
    except ValidationError as cause:
        # A misspelt key is both missing and unknown: the unknown one is the line to fix.
        first = min(cause.errors(), key=lambda error: error["type"] != "extra_forbidden")
        got = repr(first["input"])
        got = got if len(got) <= 60 else got[:57] + "..."
        raise file_error(path, text, first["loc"], f"{describe_problem(first)} (got {got})") from None


def file_error(path: Path, text: str, key: KeyPath, problem: str) -> InputError:
    """Return the error to raise about a key of a file."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".") or "(file)"
    return InputError(f"{path.name}, line {line_of(text, key)}, key {name}: {problem}.")


def line_of(text: str, key: KeyPath) -> int:
    """Return the line (from 1) of TOML text on which a key starts, or the deepest part of its path that exists.

    Finds the first line such that the text up to it, parsed by itself, has the key.
    """
    lines = text.splitlines()
    while not _has_key(lines, key):
        key = key[:-1]
    return 1 + bisect_left(range(1, len(lines)), True, key=lambda count: _has_key(lines[:count], key))


def _has_key(lines: list[str], key: KeyPath) -> bool:
    content: Any = _parse_beginning(lines)
    try:
        for part in key:
            content = content[part]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _parse_beginning(lines: list[str]) -> dict[str, Any]:
    """Parse as many lines as form valid TOML, closing a list that is cut off."""
    for count in range(len(lines), 0, -1):
        for end in ("", "]"):
            try:
                return tomllib.loads("\n".join([*lines[:count], end]))
            except tomllib.TOMLDecodeError:
                continue
    return {}
