"""Hub revisions, pinned by a lock file that is written only where the hub can be reached."""

import json
from pathlib import Path

LOCK = Path(__file__).with_name("hub_lock.json")


def pinned_revision(hub_id: str) -> str:
    """The commit that the lock holds for a hub id, or 'unpinned': a revision is never invented."""
    return json.loads(LOCK.read_text()).get(hub_id, "unpinned")
