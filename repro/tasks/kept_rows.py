"""Rows of data sets that were fetched, on this machine's disk by commit.

The stages of a study read the same rows, and need no network for them. `datasets` has a cache as well, but takes the
newest data set in it when the hub does not answer, whatever revision it was asked for.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.system.atomic_write import atomic_write

if TYPE_CHECKING:
    from repro.tasks.hub import HubSource


def read_kept(source: "HubSource", split: str, commit: str) -> list[dict[str, Any]] | None:
    """Return the rows of a split at a commit, None if they were never fetched here."""
    file = _folder(source, split) / f"{commit}.jsonl"
    return _read(file) if file.is_file() else None


def read_newest_kept(source: "HubSource", split: str) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the commit that was fetched last and its rows, None if there is none."""
    files = _folder(source, split).glob("[!.]*.jsonl")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    return None if newest is None else (newest.stem, _read(newest))


def keep(source: "HubSource", split: str, commit: str, rows: list[dict[str, Any]]) -> None:
    """Write the rows; where the disk does not take them or JSON has no such values, they are fetched again next time."""
    folder = _folder(source, split)
    with contextlib.suppress(OSError, TypeError, ValueError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / f"{commit}.jsonl") as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _folder(source: "HubSource", split: str) -> Path:
    """Return the folder of a split, beside the hub's own caches."""
    from huggingface_hub import constants

    key = hashlib.sha256("\0".join((source.url or "", source.config or "", split)).encode()).hexdigest()[:12]
    return Path(constants.HF_HOME) / "distillability-repro" / "rows" / source.id.replace("/", "--") / key
