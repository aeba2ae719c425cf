"""Progress of a running stage, kept in a small file that other machines can read."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.progress import RESUMED
from repro.stages import Stage
from repro.system.atomic_write import atomic_write


def progress_path(cache: Path, stage: Stage) -> Path:
    """Return the file in which a running stage reports its progress."""
    return cache / ".work" / f"{stage.folder_name}.progress.json"


class FileProgress:
    """Writes progress to a file that other machines can read, at most four times a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < 0.25 and done < total:
            return
        self._last = now
        with atomic_write(self._path) as temporary:
            temporary.write_text(json.dumps({"done": done, "total": total, "unit": unit, "note": note}))


def read_progress(path: Path) -> dict[str, Any] | None:
    """Return a running stage's latest report, or None before the first."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def resumed_at(report: Mapping[str, Any] | None) -> int | None:
    """Return the step at which training resumed, from its latest report; None if it started from scratch."""
    match = re.search(rf"{RESUMED} (\d+)", report["note"] if report else "")
    return int(match[1]) if match else None
