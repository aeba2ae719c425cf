"""Local disk cache of fetched data set rows, by commit.

A study's stages read the same rows and then need no network. `datasets` has a cache too, but when the hub does not
answer it falls back to the newest cached data set, whatever revision was requested.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from repro.system.atomic_write import atomic_write

Fields = dict[str, Any]


class KeptRows:
    """The kept rows of one split, beside the hub's own caches.

    Args:
        hub_id: of the data set.
        parts: what distinguishes its splits.
    """

    def __init__(self, hub_id: str, *parts: str | None) -> None:
        from huggingface_hub import constants

        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        self._folder = Path(constants.HF_HOME) / "distillability-repro" / "rows" / hub_id.replace("/", "--") / key

    def read(self, commit: str) -> list[Fields] | None:
        """Return the rows at a commit, None if they were never fetched here."""
        file = self._folder / f"{commit}.jsonl"
        return _read(file) if file.is_file() else None

    def read_newest(self) -> tuple[str, list[Fields]] | None:
        """Return the commit that was fetched last and its rows, None if there is none."""
        files = self._folder.glob("[!.]*.jsonl")
        newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
        return None if newest is None else (newest.stem, _read(newest))

    def keep(self, commit: str, rows: list[Fields]) -> None:
        """Write the rows; if the disk or JSON cannot store them, they are simply fetched again next time."""
        with contextlib.suppress(OSError, TypeError, ValueError):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / f"{commit}.jsonl"
            with atomic_write(file) as temporary, temporary.open("w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _read(file: Path) -> list[Fields]:
    with file.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
