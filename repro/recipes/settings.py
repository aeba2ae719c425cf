"""Settings of the studies, and `--set key=value` over them."""

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

import pydantic

from repro.calibration.config import CalibrationConfig
from repro.diagnosis.config import DiagnosisConfig
from repro.distillation.config import DistillationConfig
from repro.distillation.loss import LOSSES
from repro.errors import InputError
from repro.evaluation.config import PrefixConfig
from repro.generation.config import SamplingConfig
from repro.recipes.study_rows import RowsField
from repro.system.input_errors import describe_problem, did_you_mean

PER_STAGE_SETTINGS = ("engine", "reasoning")
"""Settings that every stage has; without a stage's name they are set for all of them."""


class Family(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One teacher-student pair with its calibration target: toy names, hub ids or folders."""

    teacher: str
    student: str
    target: str
    larger_teachers: tuple[str, ...] = ()
    """Further teachers of the same student, which Table 1 measures and nothing calibrates."""
    other_target: str | None = None
    """A calibration target of another family, for the control that changes the target."""


class MatrixSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Settings of the studies of guards and attacks. A name may have settings in brackets: knob(strength=-1)."""

    guards: tuple[str, ...] = pydantic.Field(
        default=("none", "knob", "knob-per-token", "doge", "answer-only", "reorder", "poe", "ads"), min_length=1
    )
    attacks: tuple[str, ...] = pydantic.Field(
        default=(
            "sft",
            "gkd-fkl",
            "gkd-rkl",
            "own-answers",
            "sft-majority",
            "sft-shortest",
            "sft-likeliest",
            "reweight",
            "supplement",
        ),
        min_length=1,
    )
    interface: Literal["text", "top-k", "logits"] = "logits"
    """The most that the teacher's owner serves; a guard may show less."""
    own_completions: int = pydantic.Field(default=8, gt=0)
    """Completions of each training prompt that a thief samples from the own student."""
    scored_completions: int = pydantic.Field(default=2, gt=0)
    """Completions of each held-out item that are scored for the KL to the start, and for readability."""


class Settings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Everything that `--set` may change in a study."""

    families: dict[str, Family]
    tasks: tuple[str, ...] = pydantic.Field(min_length=1)
    source_tasks: tuple[str, ...] = pydantic.Field(min_length=1)
    """What Tables 3 and 7 calibrate on; the other tasks with a key are their unseen ones."""
    train_items: int | None = pydantic.Field(gt=0)
    """Training prompts per task; None for all."""
    test_items: int | None = pydantic.Field(gt=0)
    """Held-out prompts per task; None for all."""
    eta_distillable: float = pydantic.Field(gt=0, allow_inf_nan=False)
    eta_undistillable: float = pydantic.Field(lt=0, allow_inf_nan=False)
    etas: tuple[pydantic.FiniteFloat, ...] = pydantic.Field(min_length=3)
    """Values of eta of the sweep."""
    reward_model: str | None
    reward_while_distilling: bool
    """Let the reward model score the open-ended tasks of GKD-RKL too. Only its history shows the scores."""
    calibration: CalibrationConfig
    """Its eta is replaced by each variant's."""
    calibration_template: Literal["teacher", "student"] = "teacher"
    """Whose chat template makes the prompts of a calibration. In GKD the teacher reads the student's prompts: where their
    templates differ (DeepSeek-R1-0528-Qwen3-8B), what was calibrated under the teacher's need not show there."""
    sft: DistillationConfig
    gkd_fkl: DistillationConfig
    gkd_rkl: DistillationConfig
    teacher_sampling: SamplingConfig
    evaluation: SamplingConfig
    diagnosis: DiagnosisConfig
    prefixes: PrefixConfig
    judge: str | None
    """Model that names failure modes: hub id, folder, or http://HOST:PORT/v1#MODEL for one behind an OpenAI-compatible
    server; None for the rules."""
    world: str | None = None
    """The embedded world of the toy scale's tasks and models: world3, or world3-no-tail; None at other scales."""
    losses: tuple[str, ...] = pydantic.Field(
        default=tuple(name for name in LOSSES.built_in if name != "rkl"), min_length=1
    )
    """Losses that the study `losses` compares with reverse KL; a name may have one setting in brackets: jsd(beta=0.3)."""
    controls: bool
    """Run eta = 0 and the no-reasoning control in addition to the paper's rows."""
    more_controls: bool = False
    """Run Table 2's further controls too: the student without a teacher, the KL-matched teacher with its student, and
    off-policy students of the calibrated teachers (SFT, GKD-FKL)."""
    matrix: MatrixSettings = MatrixSettings()
    rows: tuple[RowsField, ...] = ()
    """Plug-ins that add rows to the study, with the content of their files (docs/plugins.md)."""

    @pydantic.field_validator("tasks", "source_tasks")
    @classmethod
    def _check_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tasks)) < len(tasks):
            raise InputError(f"tasks {', '.join(tasks)}: list each once: a repeated one would count twice")
        return tasks

    @pydantic.field_validator("losses")
    @classmethod
    def _check_losses(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        labels = tuple(LOSSES.parse(text).label for text in losses)
        if len(set(labels)) < len(labels) or "rkl" in labels:
            raise InputError(
                f"losses {', '.join(labels)}: list each once, and leave out rkl: it is always included, as the baseline"
            )
        return labels

    @pydantic.field_validator("etas")
    @classmethod
    def _check_curve(cls, etas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(etas)) < max(3, len(etas)):
            raise ValueError("give three or more values, each once")
        return etas


def override(settings: Settings, assignments: Iterable[str]) -> Settings:
    """Apply `key=value` texts; dots go into nested settings, commas make lists.

    `eta=X` sets both signs (X distillable, -X undistillable); `engine=NAME` and `reasoning=true|false` set every stage's.

    Raises:
        InputError: an unknown key or a value that does not fit, with the keys that exist.
    """
    content: dict[str, Any] = settings.model_dump()
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: write key=value, for example --set calibration.steps=40")
        for path, part in _expand(key.strip(), value.strip()):
            _assign(content, path, part, text)
    try:
        return Settings.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        is_group = isinstance(first["input"], dict)  # its value would be a line of all of its settings
        value = "" if is_group else f"={first['input']!r}"
        raise InputError(f"--set {key}{value}: {describe_problem(first)}") from None


def _expand(key: str, value: str) -> list[tuple[str, str]]:
    """Return the settings that a key stands for, with their values."""
    if key == "eta":
        try:
            size = float(value)
        except ValueError:
            raise InputError(f"--set eta={value}: not a number. Example: --set eta=0.5") from None
        if size == 0 or not math.isfinite(size):
            raise InputError(
                f"--set eta={value}: the size of eta, used with both signs: a finite number above 0, as in eta=0.5"
            )
        if size < 0:
            raise InputError(
                f"--set eta={value}: the size of eta, used with both signs; write eta={value[1:]},"
                f" or eta_undistillable={value}"
            )
        return [("eta_distillable", str(size)), ("eta_undistillable", str(-size))]
    if key in PER_STAGE_SETTINGS:
        parts = ("calibration", "sft", "gkd_fkl", "gkd_rkl", "teacher_sampling", "evaluation")
        return [(f"{part}.{key}", value) for part in parts]
    return [(key, value)]


def _assign(content: dict[str, Any], path: str, value: str, text: str) -> None:
    inside = content
    *parents, leaf = path.split(".")
    for parent in parents:
        inside = inside.get(parent, {}) if isinstance(inside, dict) else {}
    if not isinstance(inside, dict) or leaf not in inside or isinstance(inside[leaf], dict):
        known = [*flatten(content), "eta", *PER_STAGE_SETTINGS]
        raise InputError(
            f"--set {text}: no setting '{path}'. {did_you_mean(path, known, 3)}`repro settings` lists all {len(flatten(content))}."
        )
    if isinstance(inside[leaf], tuple | list):
        parts = re.split(r",(?![^()]*\))", value)  # not at the commas of a name's settings
        inside[leaf] = [part.strip() for part in parts if part.strip()]
    else:
        inside[leaf] = None if value.lower() in {"none", "all"} else value


def as_assigned(value: Any) -> str:
    """Return a value as `--set` takes it."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_assigned, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys and their values."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
