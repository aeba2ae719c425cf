"""Which inputs of the stages are pinned to a revision of the hub, and which are not."""

from collections.abc import Iterable

from repro.stages.stage import Stage
from repro.system.hub_lock import UNPINNED, pinned_revision
from repro.tasks.registry import hub_of


def hub_inputs(stages: Iterable[Stage]) -> dict[str, str]:
    """What the stages read from outside by name: hub id to "models", "datasets", or "github" (a file in a repository)."""
    found: dict[str, str] = {}
    for stage in stages:
        found |= {model.name: "models" for model in stage.base_models() if not model.is_local}
        for one in stage.data:
            source = None if one.file else hub_of(one.task)
            if source is not None:
                found[source.id] = "github" if source.url else "datasets"
    return found


def unpinned_inputs(stages: Iterable[Stage]) -> list[str]:
    """The hub ids among the stages' inputs whose revision the lock does not hold."""
    return sorted(name for name in hub_inputs(stages) if pinned_revision(name) == UNPINNED)


def served_model_names(stages: Iterable[Stage]) -> list[str]:
    """The models that servers run, each marked so: they are unpinned too, and nothing here can pin them."""
    return sorted({f"{model.name} (served)" for stage in stages for model in stage.served_models()})
