"""References to a stage's external inputs: models, served models, and task items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pydantic

from repro.errors import InputError
from repro.models.endpoint import PURPOSES, Endpoint
from repro.models.loading import is_toy_model
from repro.stages.identity import Frozen
from repro.tasks.registry import is_toy_task, plugin_content
from repro.tasks.task import Split


class BaseModelRef(Frozen):
    """A published or local model. Its identity is the revision (content hash or hub commit), not its path."""

    kind: Literal["base"] = "base"
    name: str
    revision: str
    template: str | None = None
    """`models.template_hash.template_identity`; None for toy models, whose revision covers their templates."""

    @property
    def is_local(self) -> bool:
        """True for a folder on this machine, which is identified by its content."""
        return self.revision.startswith("sha256:")

    def identity(self) -> dict[str, Any]:
        name = {} if self.is_local else {"name": self.name}
        return name | {"revision": self.revision} | ({"template": self.template} if self.template else {})

    @property
    def is_toy(self) -> bool:
        """True for the toy models that come with the package."""
        return is_toy_model(self.name)

    @property
    def base_model(self) -> "BaseModelRef":
        """The model itself."""
        return self

    @property
    def folder_name(self) -> None:
        """None: it is not a stage's artifact."""
        return None

    @property
    def model_label(self) -> str:
        """The name in labels of stages."""
        return self.name


class Model(Protocol):
    """A model that a stage reads: as published, or trained by another stage."""

    @property
    def base_model(self) -> BaseModelRef:
        """The published or local model underlying it."""

    @property
    def folder_name(self) -> str | None:
        """The artifact folder of the stage that trained it; None for a published or local model."""

    @property
    def model_label(self) -> str:
        """The name in labels of stages."""


STORED = "stored"
"""Validation context for a stage that has run: its plug-ins need not be loaded, nor be unchanged."""


@dataclass(frozen=True)
class ModelPair:
    """Two models that must share their tokens, and what for."""

    purpose: Literal["distillation", "diagnosis", "prefixes"]
    teacher: BaseModelRef
    student: BaseModelRef


class ServedModelRef(Frozen):
    """A model behind a server. Its identity is the name, not the URL; the revision behind it is unknown (unpinned)."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"url", "purpose"})

    kind: Literal["served"] = "served"
    name: str
    url: str
    purpose: Literal["judge", "rewriter"] = "judge"

    @property
    def endpoint(self) -> Endpoint:
        """The server's address, the model to request, and the purpose."""
        return Endpoint(self.url, self.name, PURPOSES[self.purpose])


class TaskData(Frozen):
    """Items of one task. A file is identified by its content, rows of the hub by the locked commit."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"file"})

    task: str
    split: Split
    n: int | None = pydantic.Field(gt=0)
    seed: int
    file: Path | None = None
    sha256: str | None = None
    revision: str | None = None
    """The data set's commit on the hub, "unpinned" if none is locked; None for a file; for a toy task, its world."""

    fields: tuple[tuple[str, str], ...] = ()
    """(task field, file field) pairs, where the names differ."""
    instruction: str | None = None
    """Text after each question of the user's file; None (not part of the identity) for the kind's default."""
    plugin: str | None = None
    """Hash of the package or file that defines a plug-in task; None for built-in tasks."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_plugin(cls, content: Any, info: pydantic.ValidationInfo) -> Any:
        """Add the hash of a plug-in task, and refuse a stage that was planned with a different one.

        A stage read back only to be described (context `STORED`) keeps the recorded hash.
        """
        if not isinstance(content, dict) or not isinstance(content.get("task"), str) or info.context == STORED:
            return content
        now = plugin_content(content["task"])
        if content.get("plugin") not in (None, now):
            raise InputError(
                f"task '{content['task']}': the files of its plug-in have changed since this stage was planned. Run again"
            )
        return content | ({"plugin": now} if now else {})

    def identity(self) -> dict[str, Any]:
        content = super().identity()
        if self.instruction is None:
            del content["instruction"]
        return {name: value for name, value in content.items() if name not in ("fields", "plugin") or value}

    @property
    def is_local(self) -> bool:
        """True for a file, and for the toy tasks that come with the package."""
        return self.file is not None or is_toy_task(self.task)
