"""Reading the stored TOML files: where they stand, and errors that name file, line and key."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from repro.errors import InputError
from repro.tables.paper.schema import Strict

Place = tuple[int | str, ...]  # key path, e.g. ("claims", 3, "margin")

_Shape = TypeVar("_Shape", bound=Strict)


def paper_tables_folder() -> Path:
    """`paper_tables/` beside the package in a checkout, else the copy that the installed package carries."""
    package = Path(__file__).resolve().parents[2]
    candidates = (package.parent / "paper_tables", package / "_paper_tables")
    for folder in candidates:
        if (folder / "legend.toml").is_file():
            return folder
    raise InputError(
        f"no stored tables in {candidates[0]} or {candidates[1]}: reinstall the package or use a checkout."
    )


def stored_hashes(folder: Path | None = None) -> dict[str, str]:
    """sha256 of every stored file, by name: what a result was judged against, margins included."""
    files = sorted((folder or paper_tables_folder()).glob("*.toml"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_toml(path: Path, shape: type[_Shape]) -> tuple[_Shape, str]:
    """The file as `shape`, and its text for `refuse`. InputError with line and key where it does not fit."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({cause}).") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise InputError(f"{path.name}: not TOML: {cause}.") from None  # the message carries line and column
    try:
        # Not strict: TOML has arrays where the shapes have tuples.
        return shape.model_validate(content, strict=False), text
    except ValidationError as cause:
        # A misspelt key is both missing and unknown: the unknown one is the line to mend.
        first = min(cause.errors(), key=lambda error: error["type"] != "extra_forbidden")
        got = repr(first["input"])
        got = got if len(got) <= 60 else got[:57] + "..."
        raise refuse(path, text, first["loc"], f"{first['msg']} (got {got})") from None


def refuse(path: Path, text: str, place: Place, what: str) -> InputError:
    """The error to raise about a key of a file."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".") or "(file)"
    return InputError(f"{path.name}, line {line_of(text, place)}, key {key}: {what}.")


def line_of(text: str, place: Place) -> int:
    """Line (from 1) of a key path in TOML text: of the last part of the path that the text shows.

    Reads what these files use: `[[name]]`, `[a.b]`, `key =`, and arrays with one element per line.
    """
    lines = text.splitlines()
    at, stop, parts = 0, len(lines), list(place)
    while parts:
        part = parts.pop(0)
        following = parts[0] if parts else None
        if isinstance(part, int):
            elements = [n for n in range(at + 1, stop) if lines[n].lstrip().startswith(("[", "{"))]
            at = elements[part] if part < len(elements) else at
            continue
        if isinstance(following, int):
            heads = [n for n, line in enumerate(lines) if line.strip() == f"[[{part}]]"]
            if following < len(heads):
                parts.pop(0)
                at = heads[following]
                stop = next((n for n in heads if n > at), len(lines))
                continue
        if isinstance(following, str):
            found = next((n for n in range(at, stop) if lines[n].strip() == f"[{part}.{following}]"), None)
            if found is not None:
                parts.pop(0)
                at = found
                stop = next((n for n in range(at + 1, stop) if lines[n].startswith("[")), stop)
                continue
        key = re.compile(rf"(^|[{{,\s]){re.escape(part)}\s*=")
        at = next((n for n in range(at, stop) if key.search(lines[n])), at)
    return at + 1
