"""How far a running stage is, told through a small file that another machine can read."""

import json
import time
from pathlib import Path
from typing import Any

from repro.stages import Stage


def progress_path(cache: Path, stage: Stage) -> Path:
    """Where a running stage tells how far it is."""
    return cache / ".work" / f"{stage.folder_name}.progress.json"


class FileProgress:
    """Progress through a small file, so that it also works from another machine. At most four writes a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < 0.25 and done < total:
            return
        self._last = now
        aside = self._path.with_suffix(".part")
        aside.write_text(json.dumps({"done": done, "total": total, "unit": unit, "note": note}))
        aside.replace(self._path)


def read_progress(path: Path) -> dict[str, Any] | None:
    """The last thing a running stage told; None before the first."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
