"""sha256 of an artifact's files. What was hashed once and has not been touched since is not read again.

A remembered hash counts while size, inode, and times of the last change of content and of status are as they were then. A
driver checks every artifact at its start and each stage its inputs: hundreds of gigabytes at paper scale.
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
"""Folder next to the artifacts with a file of remembered hashes for each."""
CLOCK_STEP_NS = 2 * 10**9
"""Coarsest time stamps of a file system: a file that changed this recently could change again under the same time."""


def file_hashes(folder: Path, *, artifact: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return sha256 and size of every file below the folder except the record itself.

    Args:
        artifact: the folder's later name, if it is not its name yet: the hashes are remembered for that.
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
        with contextlib.suppress(OSError):  # a folder that may only be read
            memory.parent.mkdir(exist_ok=True)
            write_json(memory, states)
    return hashes


def unread_bytes(folder: Path) -> int:
    """Return the bytes that `file_hashes` would read."""
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
