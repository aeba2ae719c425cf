"""Settings of a stage on the user's own models: short names, and what must be given up front."""

from collections.abc import Iterable, Sequence

from repro.errors import InputError
from repro.recipes.settings import PER_STAGE_SETTINGS, Settings
from repro.recipes.shared_stages import reward_model_of
from repro.stages import BaseModelRef
from repro.system.input_errors import did_you_mean
from repro.tasks import registry

READ_BY_ALL = ("tasks", "train_items", "test_items", "reward_model", *PER_STAGE_SETTINGS)
READ_BY = {
    "calibrate": ("calibration", "calibration_template"),
    "sample": ("teacher_sampling",),
    "sft": ("sft", "teacher_sampling"),
    "gkd-fkl": ("gkd_fkl", "teacher_sampling"),
    "gkd-rkl": ("gkd_rkl", "reward_while_distilling"),
    "evaluate": ("evaluation",),
    "diagnose": ("evaluation", "diagnosis"),
}
"""Procedure -> settings that affect the stage and its inputs; a section stands for all of its settings."""


def check_read(procedure: str, assignments: Iterable[str]) -> None:
    """Refuse an assignment that a one-stage command would ignore, even though the setting exists.

    Raises:
        InputError: names the setting and those that are read.
    """
    parts = READ_BY[procedure]
    short = {key for part in parts for key in getattr(_type_of(part), "model_fields", ())}
    for text in assignments:
        key = text.partition("=")[0].strip()
        if procedure == "calibrate" and key in ("eta", "calibration.eta"):
            raise InputError(f"--set {text}: give the eta of a calibration with --eta")
        if key.partition(".")[0] not in (*parts, *READ_BY_ALL) and key not in short:
            known = ", ".join(f"{part}.*" if hasattr(_type_of(part), "model_fields") else part for part in parts)
            raise InputError(
                f"--set {text}: {procedure} does not read this setting. It reads {known}, {', '.join(READ_BY_ALL)}."
            )


def _type_of(part: str) -> object:
    return Settings.model_fields[part].annotation


def with_section(assignment: str, settings: Settings, sections: Sequence[str]) -> str:
    """Prefix an assignment's key with the first of the stage's sections that has it.

    Raises:
        InputError: no setting has this name.
    """
    key = assignment.partition("=")[0].strip()
    for section in sections:
        if key in type(getattr(settings, section)).model_fields:
            return f"{section}.{assignment.strip()}"
    if "." not in key and "=" in assignment and key not in ("eta", *PER_STAGE_SETTINGS, *Settings.model_fields):
        raise InputError(f"--set {assignment}: no setting '{key}' of this stage. {_advise(key, tuple(sections))}")
    return assignment


def _advise(key: str, sections: tuple[str, ...]) -> str:
    """Suggest the closest of the settings that a stage and its inputs read, and list them."""
    parts = next(parts for parts in READ_BY.values() if parts[: len(sections)] == sections)
    fields = {part: [*getattr(_type_of(part), "model_fields", ())] for part in parts}
    short = [name for section in sections for name in fields[section] if name != "eta"]  # eta has an option
    long = [f"{part}.{name}" for part in parts if part not in sections for name in fields[part]]
    others = [part for part in parts if not fields[part]]
    same = [name for name in long if name.endswith(f".{key}")]
    hint = f"Did you mean {same[0]}? " if same else did_you_mean(key, [*short, *long, *others, *READ_BY_ALL])
    groups = [f"{part}.*" for part in parts if part not in sections and fields[part]]
    known = dict.fromkeys([*short, *groups, *others, *READ_BY_ALL])
    return f"{hint}It has {', '.join(known)}."


def required_reward_model(settings: Settings) -> BaseModelRef | None:
    """Return the reward model of open-ended tasks.

    Raises:
        InputError: a task is open-ended and there is none; raised before any work.
    """
    for task in settings.tasks:
        if registry.kind_of(task) == "open" and not settings.reward_model:
            raise InputError(f"task {task} is open-ended: name a reward model (--reward-model)")
    return reward_model_of(settings)
