"""Origin of a model in a folder: the training that made it, by the record beside it.

Read from records as plain data: no plug-in that they name has to be loaded.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.stages.artifact import MODEL, RECORD

LONGEST_CHAIN = 8
"""Artifacts that are followed from one to the next; damaged records could name each other."""
_ARTIFACT = re.compile(r"[a-z][a-z-]*-[0-9a-f]{16}")
_TRAININGS = ("calibrate", "distill", "train-output-layer")


def training_behind(name: str, cache: Path) -> dict[str, Any] | None:
    """Return the settings of the stage that made the model in a folder; None if no record tells.

    The artifact is looked up in `cache` first: the path in a record is relative to the folder in which the command ran.
    """
    path = Path(name)
    artifact = path.parent if path.name == MODEL else path
    for folder in (cache / artifact.name, artifact):
        if not _ARTIFACT.fullmatch(artifact.name) or not (folder / RECORD).is_file():
            continue
        try:
            config = json.loads((folder / RECORD).read_text())["config"]
            if config["kind"] in _TRAININGS:
                return dict(config)
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return None


def training_seeds(model: Mapping[str, Any], cache: Path, depth: int = LONGEST_CHAIN) -> tuple[int, ...]:
    """Return the seeds of all trainings behind a model: its own first, then those of its student and its teacher.

    Args:
        model: as in a record's settings: a published or local model, or the settings of the stage that trains it.
        cache: the folder of artifacts, where models of other stages are looked up.
    """
    if model["kind"] == "base":
        made_by = training_behind(str(model["name"]), cache) if depth else None
        return training_seeds(made_by, cache, depth - 1) if made_by else ()
    learnt_from = [model[role] for role in ("student", "teacher") if model.get(role)]
    return (int(model["seed"]), *(seed for parent in learnt_from for seed in training_seeds(parent, cache, depth)))


def recipe_without_seeds(settings: Any, cache: Path, depth: int = LONGEST_CHAIN) -> Any:
    """Return the settings of a model with all of its trainings and without their seeds: equal for trainings of one kind."""
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
