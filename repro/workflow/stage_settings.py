"""Settings of one stage on the user's own models: short names, and what must be given before any work."""

from collections.abc import Sequence

from repro.errors import InputError
from repro.recipes.settings import Settings
from repro.recipes.shared_stages import reward_model_of
from repro.stages import BaseModelRef
from repro.tasks import registry


def with_section(assignment: str, settings: Settings, sections: Sequence[str]) -> str:
    """Prefix an assignment's key with the first of the stage's sections that has it."""
    key = assignment.partition("=")[0].strip()
    for section in sections:
        if key in type(getattr(settings, section)).model_fields:
            return f"{section}.{assignment.strip()}"
    return assignment


def required_reward_model(settings: Settings) -> BaseModelRef | None:
    """Return the reward model of open-ended tasks.

    Raises:
        InputError: a task is open-ended and there is none, said before any work.
    """
    for task in settings.tasks:
        if registry.kind_of(task) == "open" and not settings.reward_model:
            raise InputError(f"task {task} is open-ended: name a reward model (--reward-model)")
    return reward_model_of(settings)
