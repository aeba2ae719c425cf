"""Hub inputs of stages, and which of them have no pinned revision."""

from collections.abc import Iterable

from repro.stages.stage import Stage
from repro.system.hub_lock import UNPINNED, pinned_revision
from repro.tasks.registry import hub_of


def hub_inputs(stages: Iterable[Stage]) -> dict[str, str]:
    """Return what the stages read by name: hub id -> "models", "datasets", or "github" (a file in a repository)."""
    inputs: dict[str, str] = {}
    for stage in stages:
        inputs |= {model.name: "models" for model in stage.base_models() if not model.is_local}
        for part in stage.data:
            source = None if part.file else hub_of(part.task)
            if source is not None:
                inputs[source.id] = "github" if source.url else "datasets"
    return inputs


def unpinned_inputs(stages: Iterable[Stage]) -> list[str]:
    """Return the hub ids among the stages' inputs that have no locked revision."""
    return sorted(name for name in hub_inputs(stages) if pinned_revision(name) == UNPINNED)


def served_model_names(stages: Iterable[Stage]) -> list[str]:
    """Return the models behind servers, each marked "(served)": they cannot be pinned."""
    return sorted({f"{model.name} (served)" for stage in stages for model in stage.served_models()})
