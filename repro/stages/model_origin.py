"""Trace a model in a folder to the training that made it, through the record next to it.

Records are read as plain data, so the plug-ins they name need not be loaded.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.stages.artifact import MODEL, RECORD

LONGEST_CHAIN = 8
"""Maximum chain of artifacts to follow: damaged records could refer to each other."""
_ARTIFACT = re.compile(r"[a-z][a-z-]*-[0-9a-f]{16}")
_TRAININGS = ("calibrate", "distill", "train-output-layer")


def training_behind(name: str, cache: Path) -> dict[str, Any] | None:
    """Return the settings of the stage that made the model in a folder, or None if no record says.

    The artifact is looked up in `cache` first: the path in a record is relative to the folder in which the command ran.
    """
    folder = artifact_of_model(name, cache)
    if folder is None:
        return None
    try:
        config = json.loads((folder / RECORD).read_text())["config"]
        return dict(config) if config["kind"] in _TRAININGS else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def artifact_of_model(name: str, cache: Path) -> Path | None:
    """Return the artifact that a model's name refers to, in `cache` or at that path; None if it is not one.

    If it exists in neither place, the path in `cache` is returned.
    """
    places = artifact_places(name, cache)
    return next((place for place in places if (place / RECORD).is_file()), places[0] if places else None)


def artifact_places(name: str, cache: Path) -> list[Path]:
    """Return candidate paths of a model's artifact: in `cache`, and at the path itself; empty if it is not one."""
    path = Path(name)
    artifact = path.parent if path.name == MODEL else path
    return [cache / artifact.name, artifact] if _ARTIFACT.fullmatch(artifact.name) else []


def artifacts_behind(folder: Path) -> list[Path]:
    """Return an artifact's ancestors, inputs first and itself last, each once; some may no longer exist."""
    order: list[Path] = []
    seen: set[Path] = set()

    def visit(artifact: Path) -> None:
        if artifact not in seen:
            seen.add(artifact)
            for parent in _parents(artifact):
                visit(parent)
            order.append(artifact)

    visit(folder.resolve())
    return order


def models_read(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the published and local models a stage reads, each with its name and revision.

    Excludes models of nested stages: their outputs are artifacts of their own, listed as inputs in the record.
    """
    config = record.get("config")
    values = list(config.values()) if isinstance(config, Mapping) else []
    models = [value for value in values if isinstance(value, Mapping) and value.get("kind") == "base"]
    return [model for model in models if "name" in model]


def _parents(artifact: Path) -> list[Path]:
    """Return the inputs listed in an artifact's record; empty if it cannot be read."""
    cache = artifact.parent
    try:
        record = dict(json.loads((artifact / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return []
    models = [artifact_of_model(str(model["name"]), cache) for model in models_read(record)]
    inputs = [cache / str(name) for name in record.get("inputs") or []]
    return list(dict.fromkeys([*(model.resolve() for model in models if model is not None), *inputs]))


def training_seeds(model: Mapping[str, Any], cache: Path, depth: int = LONGEST_CHAIN) -> tuple[int, ...]:
    """Return the seeds of all training runs behind a model: its own first, then its student's and its teacher's.

    Args:
        model: as in a record's settings: a published or local model, or the settings of the stage that trains it.
        cache: the folder of artifacts, in which models of other stages are looked up.
    """
    if model["kind"] == "base":
        made_by = training_behind(str(model["name"]), cache) if depth else None
        return training_seeds(made_by, cache, depth - 1) if made_by else ()
    learnt_from = [model[role] for role in ("student", "teacher") if model.get(role)]
    return (int(model["seed"]), *(seed for parent in learnt_from for seed in training_seeds(parent, cache, depth)))


def recipe_without_seeds(settings: Any, cache: Path, depth: int = LONGEST_CHAIN) -> Any:
    """Return a model's settings, including all training behind it but no seeds: equal for repeats of one recipe."""
    if isinstance(settings, list):
        return [recipe_without_seeds(part, cache, depth) for part in settings]
    if not isinstance(settings, Mapping):
        return settings
    if settings.get("kind") == "base":
        made_by = training_behind(str(settings["name"]), cache) if depth else None
        return recipe_without_seeds(made_by, cache, depth - 1) if made_by else settings.get("revision")
    return {
        name: recipe_without_seeds(value, cache, depth)
        for name, value in settings.items()
        if name != "seed" or "kind" not in settings
    }
