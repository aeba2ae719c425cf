"""Identity of a stage: the settings, seeds and content that change its result, and nothing else."""

from typing import Any, ClassVar

import pydantic


class Frozen(pydantic.BaseModel):
    """Base of everything that is part of an identity."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not change the result, such as paths."""

    def identity(self) -> dict[str, Any]:
        """Return the fields that change the result."""
        names = [name for name in type(self).model_fields if name not in self.not_identity]
        return {name: _identity_of(getattr(self, name)) for name in names}

    def nested_identity(self) -> Any:
        """Return what stands for this value in the identity of the value that contains it."""
        return self.identity()


def _identity_of(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Frozen):
        return value.nested_identity()
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_identity_of(element) for element in value]
    return value
