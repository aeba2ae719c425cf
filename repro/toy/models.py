"""Folders of the shipped models by name. No torch here: names resolve at once."""

from pathlib import Path
from typing import Literal, get_args

from repro.errors import InputError

Family = Literal["qwen3", "gemma3"]
Role = Literal["teacher", "student", "target"]
FAMILIES: tuple[Family, ...] = get_args(Family)
ROLES: tuple[Role, ...] = get_args(Role)

WEIGHTS = Path(__file__).parent / "weights"
PREFIX = "toy:"
REWARD_MODEL = "reward-model"
MODELS: dict[str, Path] = {
    **{f"{PREFIX}{family}-{role}": WEIGHTS / f"{family}-{role}" for family in FAMILIES for role in ROLES},
    f"{PREFIX}{REWARD_MODEL}": WEIGHTS / REWARD_MODEL,
}


def model_folder(name: str) -> Path:
    """Return the folder of a shipped model: toy:<family>-<role>, or toy:reward-model."""
    if name not in MODELS:
        raise InputError(f"unknown toy model {name!r}: known are {', '.join(MODELS)}.")
    return MODELS[name]
