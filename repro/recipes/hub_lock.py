"""Hub revisions, pinned by a lock file that is written only where the hub can be reached (`repro pin`)."""

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.pipeline.stages import Stage

LOCK = Path(__file__).with_name("hub_lock.json")
UNPINNED = "unpinned"


def pinned_revision(hub_id: str) -> str:
    """The commit that the lock holds for a hub id, or 'unpinned': a revision is never invented."""
    return _lines(LOCK, (LOCK.stat().st_mtime_ns, LOCK.stat().st_size)).get(hub_id, UNPINNED)


@functools.cache
def _lines(lock: Path, written: tuple[int, int]) -> Mapping[str, str]:
    """The lock as of that write: a plan asks for thousands of revisions."""
    return json.loads(lock.read_text())


def hub_inputs(stages: Iterable["Stage"]) -> dict[str, str]:
    """What the stages read from outside by name: hub id to "models", "datasets", or "github" (a file in a repository)."""
    from repro.tasks.registry import hub_of

    found: dict[str, str] = {}
    for stage in stages:
        found |= {model.name: "models" for model in stage.base_models() if not model.revision.startswith("sha256:")}
        for one in getattr(stage, "data", ()):
            source = None if one.file else hub_of(one.task)
            if source is not None:
                found[source.id] = "github" if source.url else "datasets"
    return found


def unpinned(stages: Iterable["Stage"]) -> list[str]:
    """The hub ids among the stages' inputs whose revision the lock does not hold."""
    return sorted(name for name in hub_inputs(stages) if pinned_revision(name) == UNPINNED)


def served(stages: Iterable["Stage"]) -> list[str]:
    """The models that servers run, each marked so: they are unpinned too, and nothing here can pin them."""
    return sorted({f"{model.name} (served)" for stage in stages for model in stage.served_models()})
