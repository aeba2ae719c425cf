"""sha256 of an artifact's files. Files that have not changed since they were last hashed are not read again.

A remembered hash is valid while the file's size, inode, mtime and ctime are unchanged. A driver checks every artifact
when it starts, and each stage checks its inputs: hundreds of gigabytes at paper scale.
"""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from repro.stages.artifact import RECORD
from repro.system.atomic_write import write_json

MEMORY = ".verified"
"""Folder next to the artifacts, with one file of remembered hashes per artifact."""
CLOCK_STEP_NS = 2 * 10**9
"""Coarsest file timestamp resolution: a file changed this recently may change again with the same timestamp."""


def file_hashes(folder: Path, *, artifact: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return sha256 and size of every file below the folder except the record itself.

    Args:
        artifact: the folder's final name, if it differs from the current one; the hashes are remembered under it.
    """
    memory = _memory_file(artifact or folder)
    remembered = _read(memory)
    hashes: dict[str, dict[str, Any]] = {}
    states: dict[str, dict[str, Any]] = {}
    for file in _files(folder):
        name, state = str(file.relative_to(folder)), _state(file)
        before = remembered.get(name)
        if before is not None and before["state"] == state:
            digest = before["sha256"]
        else:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        hashes[name] = {"sha256": digest, "bytes": state[0]}
        if time.time_ns() - max(state[1:3]) > CLOCK_STEP_NS and _state(file) == state:
            states[name] = {"state": state, "sha256": digest}
    if states != remembered:
        with contextlib.suppress(OSError):  # a read-only folder
            memory.parent.mkdir(exist_ok=True)
            write_json(memory, states)
    return hashes


def unread_bytes(folder: Path) -> int:
    """Return how many bytes `file_hashes` would have to read."""
    remembered = _read(_memory_file(folder))
    states = {str(file.relative_to(folder)): _state(file) for file in _files(folder)}
    return sum(state[0] for name, state in states.items() if remembered.get(name, {}).get("state") != state)


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file != folder / RECORD]


def _state(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _memory_file(folder: Path) -> Path:
    return folder.parent / MEMORY / f"{folder.name}.json"


def _read(memory: Path) -> dict[str, dict[str, Any]]:
    try:
        remembered = json.loads(memory.read_text())
        return {
            name: entry
            for name, entry in remembered.items()
            if isinstance(entry["state"], list) and isinstance(entry["sha256"], str)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
