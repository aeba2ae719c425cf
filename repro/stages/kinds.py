"""The typed stages: a frozen configuration is a stage's identity. No torch here: recipes import this.

Identity holds what changes the result (settings, seeds, content of models and data, the stage's version) and leaves out
what does not (paths, machines). Two stages with equal identity share one artifact folder.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from repro.calibration.config import CalibrationConfig
from repro.diagnosis.config import DiagnosisConfig
from repro.distillation.config import DistillationConfig
from repro.errors import InputError
from repro.evaluation.config import PrefixConfig
from repro.generation.config import EngineName, SamplingConfig
from repro.tasks.task import Split


class Frozen(pydantic.BaseModel):
    """Base of everything that is part of an identity."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    not_identity: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """The fields that change the result; a stage inside counts by its fingerprint."""
        return {
            name: _identity_of(getattr(self, name)) for name in type(self).model_fields if name not in self.not_identity
        }


def _identity_of(value: Any) -> Any:
    if isinstance(value, Stage):
        return value.fingerprint
    if isinstance(value, Frozen):
        return value.identity()
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_identity_of(element) for element in value]
    return value


class BaseModelRef(Frozen):
    """A model as the world gives it. The revision (content hash or hub commit) is its identity, not its path."""

    kind: Literal["base"] = "base"
    name: str
    revision: str

    def identity(self) -> dict[str, Any]:
        content = self.revision.startswith("sha256:")
        return {"revision": self.revision} if content else {"name": self.name, "revision": self.revision}


class ServedModelRef(Frozen):
    """A model that a server runs. Its name is its identity, and not where the server is; what the server loaded under that
    name nobody here can know, so it counts as unpinned."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"url"})

    kind: Literal["served"] = "served"
    name: str
    url: str


class TaskData(Frozen):
    """Items of one task. A file is known by its content, rows of the hub by the commit that the lock names."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"file"})

    task: str
    split: Split
    n: int | None = pydantic.Field(gt=0)
    seed: int
    file: Path | None = None
    sha256: str | None = None
    revision: str | None = None
    """Of the data set on the hub, 'unpinned' where the lock has none; None for a file and for the embedded world."""


class Stage(Frozen):
    """One unit of work with one artifact folder."""

    version: ClassVar[int]
    """Raised whenever the same configuration would give another result."""
    does: ClassVar[str]

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the identity: the artifact's name."""
        content = {"does": self.does, "version": self.version, **self.identity()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy is another stage: it must not inherit the fingerprint that this one has kept."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("fingerprint", None)
        return copied

    @property
    def folder_name(self) -> str:
        return f"{self.does}-{self.fingerprint[:16]}"

    def inputs(self) -> Iterator["Stage"]:
        """The stages whose artifacts this one reads."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Stage):
                yield value

    def base_models(self) -> Iterator[BaseModelRef]:
        """The models from outside that this stage reads."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, BaseModelRef):
                yield value

    def served_models(self) -> Iterator[ServedModelRef]:
        """The models that it asks a server for."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, ServedModelRef):
                yield value

    @property
    def label(self) -> str:
        """What a person reads beside the progress bar."""
        raise NotImplementedError


class Calibrate(Stage):
    """Fine-tune the teacher towards (eta > 0) or away from (eta < 0) the calibration target (section 5)."""

    kind: Literal["calibrate"] = "calibrate"
    does: ClassVar[str] = "calibrate"
    version: ClassVar[int] = 1

    teacher: "ModelInput"
    target: BaseModelRef
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: CalibrationConfig
    seed: int

    @property
    def label(self) -> str:
        return f"calibrate teacher, eta {self.config.eta:+g}"


class Sample(Stage):
    """Draw completions of training prompts: what off-policy students learn from."""

    kind: Literal["sample"] = "sample"
    does: ClassVar[str] = "sample"
    version: ClassVar[int] = 1

    model: "ModelInput"
    data: tuple[TaskData, ...]
    config: SamplingConfig
    seed: int

    @property
    def label(self) -> str:
        return f"sample {model_label(self.model)}"


class Distill(Stage):
    """Train the student from a teacher: on stored completions (off-policy) or on its own (on-policy)."""

    kind: Literal["distill"] = "distill"
    does: ClassVar[str] = "distill"
    version: ClassVar[int] = 1

    student: BaseModelRef
    teacher: "ModelInput"
    samples: Sample | None
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: DistillationConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _samples_where_off_policy(self) -> "Distill":
        if (self.config.method == "gkd-rkl") == (self.samples is not None):
            raise ValueError("stored teacher completions are for sft and gkd-fkl, and only for these")
        return self

    @property
    def label(self) -> str:
        cut = ", answer-only traces" if self.config.traces == "answer-only" else ""
        return f"distill {self.config.method} from {model_label(self.teacher)}{cut}"


class Evaluate(Stage):
    """Draw completions of held-out prompts and grade them (section 6.1)."""

    kind: Literal["evaluate"] = "evaluate"
    does: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 1

    model: "ModelInput"
    data: tuple[TaskData, ...]
    reward_model: BaseModelRef | None
    config: SamplingConfig
    seed: int

    @property
    def label(self) -> str:
        return f"evaluate {model_label(self.model)}"


class Diagnose(Stage):
    """Measure the distillation traps between a student and a teacher (sections 3 and 4).

    The student's completions are on-policy, the teacher's off-policy (None: on-policy measures alone).
    across_tokenizers: the models share no vocabulary; what needs one is left out.
    """

    kind: Literal["diagnose"] = "diagnose"
    does: ClassVar[str] = "diagnose"
    version: ClassVar[int] = 1

    student: "ModelInput"
    teacher: "ModelInput"
    on_policy: Sample
    off_policy: Sample | None
    across_tokenizers: bool
    config: DiagnosisConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _completions_fit(self) -> "Diagnose":
        if self.on_policy.model != self.student or (self.off_policy and self.off_policy.model != self.teacher):
            raise ValueError("on-policy completions are the student's, off-policy ones the teacher's")
        if self.off_policy and (self.off_policy.data, self.off_policy.config) != (self.data, self.on_policy.config):
            raise ValueError("both policies' completions are drawn for the same items in the same way")
        if self.on_policy.config.completions_per_prompt < 2:
            raise InputError(
                "completions_per_prompt=1: a single completion per prompt makes no pairs of traces and no interval."
                " Sample two or more (--set evaluation.completions_per_prompt=16)."
            )
        alone = [one.task for one in self.data if one.n == 1]
        if alone:
            raise InputError(f"task {alone[0]} has one prompt; intervals need two or more (--items, test_items).")
        if self.across_tokenizers and self.on_policy.config.temperature != 1:
            raise InputError("--set evaluation.temperature: across tokenizers only completions at 1 can be scored")
        return self

    @property
    def data(self) -> tuple[TaskData, ...]:
        """The items that both policies answer."""
        return self.on_policy.data

    @property
    def label(self) -> str:
        return f"diagnose {model_label(self.student)} under {model_label(self.teacher)}"


class Continue(Stage):
    """Let a teacher go on from what a student began to write, and grade where it ends (section 6.5, Figure 4).

    before, after: evaluations of the student before and after its distillation. Prompts: those that it solved by majority
    before and fails after; prefixes: the first tokens of its wrong completions of them.
    """

    kind: Literal["continue"] = "continue"
    does: ClassVar[str] = "continue"
    version: ClassVar[int] = 1

    teacher: "ModelInput"
    before: Evaluate
    after: Evaluate
    prefixes: PrefixConfig
    seed: int

    @pydantic.model_validator(mode="after")
    def _same_items(self) -> "Continue":
        if self.before.data != self.after.data:
            raise ValueError("a student is compared with itself on the same items")
        return self

    @property
    def data(self) -> tuple[TaskData, ...]:
        """The items of both evaluations."""
        return self.after.data

    @property
    def label(self) -> str:
        return f"continue prefixes of {model_label(self.after.model)} with {model_label(self.teacher)}"


class Classify(Stage):
    """Name how a student fails on prompts that it solved by majority before its distillation (section 6.5).

    judge: a model that reads the completions, here or on a server; None for the rules of `repro.evaluation.failure_modes`.
    """

    kind: Literal["classify"] = "classify"
    does: ClassVar[str] = "classify"
    version: ClassVar[int] = 2

    before: Evaluate
    after: Evaluate
    judge: Annotated[BaseModelRef | ServedModelRef, pydantic.Field(discriminator="kind")] | None
    engine: EngineName
    seed: int

    @pydantic.model_validator(mode="after")
    def _same_items(self) -> "Classify":
        if self.before.data != self.after.data:
            raise ValueError("a student is compared with itself on the same items")
        return self

    @property
    def data(self) -> tuple[TaskData, ...]:
        """The items of both evaluations."""
        return self.after.data

    @property
    def label(self) -> str:
        return f"failure modes of {model_label(self.after.model)}"


ModelInput = Annotated[BaseModelRef | Calibrate | Distill, pydantic.Field(discriminator="kind")]
AnyStage = Annotated[
    Calibrate | Sample | Distill | Evaluate | Diagnose | Continue | Classify, pydantic.Field(discriminator="kind")
]
for _stage in (Calibrate, Sample, Distill, Evaluate, Diagnose, Continue, Classify):
    _stage.model_rebuild()

stage_adapter: pydantic.TypeAdapter[Calibrate | Sample | Distill | Evaluate | Diagnose | Continue | Classify] = (
    pydantic.TypeAdapter(AnyStage)
)


def model_label(model: "BaseModelRef | Calibrate | Distill") -> str:
    """Short words for a model input."""
    if isinstance(model, BaseModelRef):
        return model.name
    if isinstance(model, Calibrate):
        return f"teacher at eta {model.config.eta:+g}"
    cut = " answer-only" if model.config.traces == "answer-only" else ""
    return f"{model.config.method}{cut} student of {model_label(model.teacher)}"


def base_of(model: "BaseModelRef | Calibrate | Distill") -> BaseModelRef:
    """The model from outside that a model input descends from."""
    while not isinstance(model, BaseModelRef):
        model = model.student if isinstance(model, Distill) else model.teacher
    return model


def topological_order(stages: Iterable[Stage]) -> list[Stage]:
    """Every stage needed, inputs first, each identity once."""
    order: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint not in order:
            for needed in stage.inputs():
                visit(needed)
            order[stage.fingerprint] = stage

    for stage in stages:
        visit(stage)
    return list(order.values())


def stage_seed(stage: Stage) -> int:
    """The seed of any stage."""
    return int(getattr(stage, "seed", 0))
