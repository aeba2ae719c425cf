"""Identity of a stage: the settings, seeds and content that change its result, and nothing else."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pydantic

from repro.system.plugins import Plugin


class Frozen(pydantic.BaseModel):
    """Base of everything that is part of an identity."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not change the result, such as paths."""

    def identity(self) -> dict[str, Any]:
        """Return the fields that change the result."""
        return {name: _identity_of(getattr(self, name)) for name in _identity_names(type(self))}

    @functools.cached_property
    def shared_identity(self) -> Any:
        """Cached `nested_identity`: configurations and references are shared by hundreds of stages. Do not mutate."""
        return self.nested_identity()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy only the fields: cached values derived from them are invalid after an update."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    def nested_identity(self) -> Any:
        """Return what represents this value in the identity of its container."""
        return self.identity()


@functools.cache
def _identity_names(kind: type[Frozen]) -> tuple[str, ...]:
    return tuple(name for name in kind.model_fields if name not in kind.not_identity)


def _identity_of(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Frozen):
        return value.shared_identity
    if isinstance(value, Plugin):
        return value.identity()
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_identity_of(element) for element in value]
    return value
