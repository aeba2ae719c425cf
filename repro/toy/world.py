"""The shipped models by name, and the one function that remakes them. No torch here: names resolve at once."""

from pathlib import Path
from typing import Literal, get_args

from repro.errors import InputError
from repro.progress import Progress, silent

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


def folder(name: str) -> Path:
    """The folder of a shipped model: toy:<family>-<role>, or toy:reward-model."""
    if name not in MODELS:
        raise InputError(f"unknown toy model {name!r}: known are {', '.join(MODELS)}.")
    return MODELS[name]


def remake(out: Path, only: list[str], progress: Progress = silent) -> dict[str, float]:
    """Train the named models (all for an empty list) and write each as a folder under `out`.

    Returns the seconds that each took. A folder appears only when its model is complete.
    """
    from repro.toy.making import make

    for name in only:
        folder(name)  # refuse an unknown name before the first minute of training
    return {name: make(name.removeprefix(PREFIX), out, progress) for name in only or list(MODELS)}
