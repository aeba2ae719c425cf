"""Files that are written whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A sibling to write to, that takes the file's name at the end, or goes where the writing failed.

    Its name holds this process's id: two that write the same file do not meet.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all, and to the disk itself before it takes its name."""
    with atomic_write(path) as aside, aside.open("w") as stream:
        json.dump(content, stream, indent=1, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
