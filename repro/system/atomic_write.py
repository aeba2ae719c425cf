"""Atomic file writes: a file is complete or absent, and other machines see it at once."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file next to `path` that is renamed to `path` at the end, or removed if writing fails.

    The temporary name contains the process id, so two processes may write the same file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def look_again(folder: Path) -> None:
    """Make new file names visible on a network disk, where the client may cache their absence for a minute.

    NFS revalidates when a folder is opened (close-to-open consistency), not when a file in it is looked up.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with fsync before the rename."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
