"""Folders of the shipped models by name. No torch here, so that names resolve quickly.

A name is `toy:<family>-<role>` or `toy:reward-model` in the default world, or `toy:<world>/<family>-<role>`.
"""

import os
from pathlib import Path
from typing import Literal, get_args

from repro.errors import InputError
from repro.system.input_errors import did_you_mean
from repro.toy.world import DEFAULT_WORLD, Variant, World, parse_world

Family = Literal["qwen3", "gemma3"]
Role = Literal["teacher", "student", "target", "deep-student", "strong-target", "blind-target"]
FAMILIES: tuple[Family, ...] = get_args(Family)
ROLES: tuple[Role, ...] = get_args(Role)

WEIGHTS = Path(__file__).parent / "weights"
ROOT_VARIABLE = "REPRO_TOY_MODELS"
"""Environment variable: a folder written by `repro toy-models`, whose worlds are added to the shipped ones."""
PREFIX = "toy:"
REWARD_MODEL = "reward-model"
MODEL_NAMES = (*(f"{family}-{role}" for family in FAMILIES for role in ROLES), REWARD_MODEL)
MODELS: dict[str, Path] = {PREFIX + name: WEIGHTS / DEFAULT_WORLD.name / name for name in MODEL_NAMES}
"""The models of the default world."""


SUBSTITUTES: dict[Variant, tuple[str, Role]] = {
    "no-gap": ("student", "deep-student"),
    "strong-target": ("target", "strong-target"),
    "blind-target": ("target", "blind-target"),
}
"""Maps each variant of a world to a role and the model that replaces it."""


def model_name(world: World, model: str) -> str:
    """Return the name of a world's model, e.g. toy:world4/qwen3-teacher, or toy:qwen3-teacher in the default world."""
    if world.variant in SUBSTITUTES:
        role, substitute = SUBSTITUTES[world.variant]
        if model in {f"{family}-{role}" for family in FAMILIES}:
            model = f"{model.removesuffix(role)}{substitute}"
    folder = world.facts_name if model == REWARD_MODEL else world.models_name  # no-tail has the same facts
    return PREFIX + model if folder == DEFAULT_WORLD.name else f"{PREFIX}{folder}/{model}"


def in_world(name: str, world: World) -> str:
    """Return the name of the same model in another world; names that are no toy model's, or name a world, stay."""
    return model_name(world, name.removeprefix(PREFIX)) if name.startswith(PREFIX) and "/" not in name else name


def known_worlds() -> tuple[str, ...]:
    """Return the names of the worlds with models: shipped ones, and those in REPRO_TOY_MODELS."""
    return tuple(sorted({folder.name for root in _roots() for folder in root.glob("world*") if folder.is_dir()}))


def _roots() -> list[Path]:
    return [WEIGHTS, *(Path(root) for root in [os.environ.get(ROOT_VARIABLE, "")] if root)]


def unknown_model(name: str) -> InputError:
    """Return the error for an unknown toy model name."""
    known = [PREFIX + known for known in MODEL_NAMES]
    return InputError(f"model {name!r}: no such toy model. {did_you_mean(name, known)}There are {', '.join(known)}.")


def model_folder(name: str) -> Path:
    """Return the folder of a model, shipped or in REPRO_TOY_MODELS.

    Raises:
        InputError: no such model.
    """
    world_name, slash, model = name.removeprefix(PREFIX).rpartition("/")
    world = parse_world(world_name) if slash else DEFAULT_WORLD
    if model not in MODEL_NAMES:
        raise unknown_model(name)
    for root in _roots():
        if (folder := root / world.models_name / model).is_dir():
            return folder
    raise InputError(
        f"toy model {name!r}: not found. Worlds with models are {', '.join(known_worlds())}. To train those of another world, run"
        f" `repro toy-models --world {world.name} --out DIR` and set {ROOT_VARIABLE}=DIR."
    )
