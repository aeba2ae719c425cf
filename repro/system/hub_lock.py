"""Pinned hub revisions, from a lock file that `repro pin` writes on a machine with hub access."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("hub_lock.json")
UNPINNED = "unpinned"


def pinned_revision(hub_id: str) -> str:
    """Return the locked commit of a hub id, or 'unpinned': revisions are never made up."""
    written = LOCK.stat()
    return _lines(LOCK, (written.st_mtime_ns, written.st_size)).get(hub_id, UNPINNED)


@functools.cache
def _lines(lock: Path, written: tuple[int, int]) -> Mapping[str, str]:
    """Read the lock, cached until it changes: a plan needs thousands of revisions."""
    return json.loads(lock.read_text())
