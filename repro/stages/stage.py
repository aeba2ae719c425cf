"""Base class of all stages: one unit of work with one artifact folder, named by the fingerprint of its identity."""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from repro.stages.identity import Frozen
from repro.stages.references import BaseModelRef, ModelPair, ServedModelRef, TaskData
from repro.stages.workload import Workload
from repro.tasks.grading import RULES

_Field = TypeVar("_Field")


class Stage(Frozen):
    """One unit of work with one artifact folder. Stages with equal identities share the folder."""

    version: ClassVar[int]
    """Bumped whenever the same configuration would give a different result."""
    feeds_training: ClassVar[bool] = False
    """True if the stage's items reach a trained model, so that no evaluation item may be among them."""

    if TYPE_CHECKING:  # fields common to all kinds; some get the data from their inputs
        seed: int

        @property
        def kind(self) -> str: ...

        @property
        def data(self) -> tuple[TaskData, ...]: ...

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the identity: the artifact's name."""
        content = {"does": self.kind, "version": self.version, **self.identity()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def nested_identity(self) -> str:
        return self.fingerprint

    @property
    def folder_name(self) -> str:
        return f"{self.kind}-{self.fingerprint[:16]}"

    def inputs(self) -> Iterator["Stage"]:
        """The stages whose artifacts this one reads."""
        return self._fields_of(Stage)

    def base_models(self) -> Iterator[BaseModelRef]:
        """The published or local models this stage reads."""
        return self._fields_of(BaseModelRef)

    def served_models(self) -> Iterator[ServedModelRef]:
        """The models this stage queries on servers."""
        return self._fields_of(ServedModelRef)

    def _fields_of(self, kind: type[_Field]) -> Iterator[_Field]:
        values = (getattr(self, name) for name in type(self).model_fields)
        return (value for value in values if isinstance(value, kind))

    @property
    def reads_answers(self) -> bool:
        """True if the artifact depends on how answers are read and graded."""
        return False

    def identity(self) -> dict[str, Any]:
        """Return what changes the result: the fields, plus the grading-rules version if answers are read."""
        return super().identity() | ({"grading": RULES} if self.reads_answers else {})

    @property
    def full_traces(self) -> "Stage | None":
        """The stage whose uncut completions this one trains on, or None."""
        return None

    @property
    def label(self) -> str:
        """The text next to the progress bar."""
        raise NotImplementedError

    @property
    def rewards(self) -> tuple[str, ...]:
        """Names, in the history, of the rewards meant to move the stage's teacher; empty if it moves no teacher."""
        return ()

    @property
    def procedure(self) -> str:
        """The stage's line in Table 5: a distillation's method, else the kind."""
        return self.kind

    @property
    def workload(self) -> Workload:
        """What the stage computes, in counts."""
        raise NotImplementedError

    @property
    def model_pair(self) -> ModelPair | None:
        """The two models that must share their tokens, or None."""
        return None

    def prompted_models(self) -> dict[str, bool]:
        """Return the base models that read prompts, each with its chat template's `reasoning` setting."""
        return {}


def topological_order(stages: Iterable[Stage]) -> list[Stage]:
    """Return all required stages, inputs first, each identity once."""
    order: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint not in order:
            for needed in stage.inputs():
                visit(needed)
            order[stage.fingerprint] = stage

    for stage in stages:
        visit(stage)
    return list(order.values())
