"""One stage on a person's own models: the same stages as in a study, with settings of the nearest scale."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pydantic
from rich.console import Console

from repro.calibration.config import CalibrationConfig
from repro.distillation.config import Method
from repro.errors import InputError
from repro.models.loading import locate
from repro.pipeline.cluster import Execution
from repro.pipeline.run import run
from repro.planner.resources import resources_for
from repro.recipes.catalog import SETTINGS
from repro.recipes.settings import Settings, override
from repro.recipes.shared_stages import ITEM_ORDER, base_model, reward_model_of
from repro.stages import (
    Calibrate,
    Diagnose,
    Distill,
    Evaluate,
    Sample,
    Stage,
    TaskData,
    topological_order,
)
from repro.stages.artifact import CACHE
from repro.system.hardware import hardware
from repro.tasks import registry
from repro.tasks.own_file import hash_data_file
from repro.tasks.task import Split


@dataclass(frozen=True)
class StageOptions:
    """What a person asked of one stage."""

    tasks: tuple[str, ...]
    data: Path | None
    items: int | None
    reward_model: str | None
    assignments: list[str]
    seed: int


def calibrate_stage(teacher: str, target: str | None, eta: str, wishes: StageOptions) -> Calibrate:
    """A calibration of one teacher.

    Raises:
        InputError: a model or data that cannot be used, or no target.
    """
    model = base_model(teacher)
    settings = _settings(teacher, wishes)
    if target is None:
        if not teacher.startswith("toy:"):
            raise InputError("--target: name the student, or a proxy for it, whose likelihood is the reward")
        target = teacher.replace("teacher", "target")
    return Calibrate(
        teacher=model,
        target=base_model(target),
        data=_data(settings, wishes, "train"),
        reward_model=reward_model_of(settings),
        config=_valid(settings.calibration, eta=eta),
        seed=wishes.seed,
    )


def sample_stage(model: str, split: str, wishes: StageOptions) -> Sample:
    """Completions of one model on one split."""
    if split not in get_args(Split):
        raise InputError(f"--split {split}: use {' or '.join(get_args(Split))}")
    checked = base_model(model)
    # The paper's 16 completions a prompt, at every scale, unless a person asks for another number
    usual = ["teacher_sampling.completions_per_prompt=16"]
    settings = _settings(model, replace(wishes, assignments=[*usual, *wishes.assignments]))
    data = _data(settings, wishes, split)  # type: ignore[arg-type]
    return Sample(model=checked, data=data, config=settings.teacher_sampling, seed=wishes.seed)


def distill_stage(student: str, teacher: str, method: str, wishes: StageOptions) -> Distill:
    """One student from one teacher; the teacher's completions are sampled first where the method is off-policy."""
    if method not in get_args(Method):
        raise InputError(f"--method {method}: use {', '.join(get_args(Method))}")
    student_model, teacher_model = base_model(student), base_model(teacher)
    settings = _settings(student, wishes)
    data = _data(settings, wishes, "train")
    config = {"sft": settings.sft, "gkd-fkl": settings.gkd_fkl, "gkd-rkl": settings.gkd_rkl}[method]
    samples = None
    if method != "gkd-rkl":
        samples = Sample(model=teacher_model, data=data, config=settings.teacher_sampling, seed=wishes.seed)
    return Distill(
        student=student_model,
        teacher=teacher_model,
        samples=samples,
        data=data,
        reward_model=reward_model_of(settings),
        config=config,
        seed=wishes.seed,
    )


def evaluate_stage(model: str, wishes: StageOptions) -> Evaluate:
    """The evaluation of one model on held-out items."""
    checked = base_model(model)
    settings = _settings(model, wishes)
    return Evaluate(
        model=checked,
        data=_data(settings, wishes, "test"),
        reward_model=reward_model_of(settings),
        config=settings.evaluation,
        seed=wishes.seed,
    )


def traps_stage(teacher: str, student: str, wishes: StageOptions) -> Diagnose:
    """The diagnosis of two models on held-out items; across tokenizers, where they have two, what needs none."""
    from repro.diagnosis.vocabulary import has_shared_vocabulary

    teacher_model, student_model = base_model(teacher), base_model(student)
    settings = _settings(student, wishes)
    data = _data(settings, wishes, "test")
    completions = [
        Sample(model=model, data=data, config=settings.evaluation, seed=wishes.seed)
        for model in (student_model, teacher_model)
    ]
    return Diagnose(
        student=student_model,
        teacher=teacher_model,
        on_policy=completions[0],
        off_policy=completions[1],
        across_tokenizers=not has_shared_vocabulary(locate(teacher), locate(student)),
        config=settings.diagnosis,
        seed=wishes.seed,
    )


def run_with_inputs(stage: Stage, out: Path, *, quiet: bool, console: Console, micro_batch: int | None = None) -> Path:
    """Run the stage and what it needs; the folder of its artifact."""
    toy = all(model.name.startswith("toy:") for model in stage.base_models())
    execution = Execution(resources_for(toy, micro_batch=micro_batch))
    run(topological_order([stage]), out, execution, console=console, quiet=quiet)
    return out / CACHE / stage.folder_name


def run_and_print(stage: Stage, out: Path, *, quiet: bool, console: Console, micro_batch: int | None = None) -> None:
    """Run the stage and what it needs; print where its artifact is, and its summary."""
    folder = run_with_inputs(stage, out, quiet=quiet, console=console, micro_batch=micro_batch)
    console.print(f"{stage.label}: {folder}", highlight=False, soft_wrap=True)
    if (folder / "model").is_dir():
        console.print(f"model: {folder / 'model'}", highlight=False, soft_wrap=True)
    console.print_json(json.dumps(json.loads((folder / "summary.json").read_text())))


def _settings(model: str, wishes: StageOptions) -> Settings:
    """The toy scale's settings for toy models and wherever there is no GPU; the small scale's otherwise."""
    toy = model.startswith("toy:")
    settings = SETTINGS["toy" if toy else "small"]()
    assignments = list(wishes.assignments)
    if not toy and not hardware()["gpus"] and not any(a.startswith("engine=") for a in assignments):
        assignments.insert(0, "engine=transformers")
    if wishes.tasks:
        assignments.append(f"tasks={','.join(wishes.tasks)}")
    if wishes.reward_model:
        assignments.append(f"reward_model={wishes.reward_model}")
    return override(settings, assignments)


def _data(settings: Settings, wishes: StageOptions, split: Split) -> tuple[TaskData, ...]:
    """Task data, read once here so that a mistake in it is told before any work."""
    if wishes.data is not None and len(settings.tasks) != 1:
        raise InputError("--data: name the one task whose schema the file has (--task NAME)")
    if wishes.items is not None and wishes.items < 1:
        raise InputError(f"--items {wishes.items}: ask for at least one")
    n = wishes.items or (settings.train_items if split == "train" else settings.test_items)
    sha256 = hash_data_file(wishes.data) if wishes.data else None
    file = wishes.data.resolve() if wishes.data else None
    data = []
    for task in settings.tasks:
        available = (
            len(registry.get(task, data=file).items(split, None, ITEM_ORDER)) if file or task.startswith("toy-") else n
        )
        count = n if available is None or n is None else min(n, available)
        revision = None if file else registry.revision_of(task)
        data.append(
            TaskData(task=task, split=split, n=count, seed=ITEM_ORDER, file=file, sha256=sha256, revision=revision)
        )
    return tuple(data)


def _valid(config: CalibrationConfig, **changes: object) -> CalibrationConfig:
    try:
        return CalibrationConfig.model_validate(config.model_dump() | changes)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{first['loc'][0]} {first['input']}: {first['msg']}. Example: --eta -0.5") from None
