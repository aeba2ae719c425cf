"""Hub revisions, pinned by a lock file that `repro pin` writes where the hub can be reached."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("hub_lock.json")
UNPINNED = "unpinned"


def pinned_revision(hub_id: str) -> str:
    """Return the commit that the lock has for a hub id, or 'unpinned': a revision is never invented."""
    written = LOCK.stat()
    return _lines(LOCK, (written.st_mtime_ns, written.st_size)).get(hub_id, UNPINNED)


@functools.cache
def _lines(lock: Path, written: tuple[int, int]) -> Mapping[str, str]:
    """Read the lock once per write: a plan needs thousands of revisions."""
    return json.loads(lock.read_text())
