"""Run a single stage on the user's own models, with the settings of the nearest scale."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pydantic

from repro.calibration.config import CalibrationConfig
from repro.distillation.config import Method
from repro.errors import InputError
from repro.models.folder import count_parameters
from repro.models.loading import is_toy_model, locate
from repro.recipes.catalog import SETTINGS
from repro.recipes.settings import Settings, override
from repro.recipes.shared_stages import ITEM_ORDER, base_model, distillation_reward
from repro.recipes.study import Scale
from repro.stages import (
    Calibrate,
    Diagnose,
    Distill,
    Evaluate,
    Sample,
    TaskData,
)
from repro.system.hardware import hardware
from repro.system.input_errors import describe_problem
from repro.tasks import registry
from repro.tasks.own_file import hash_data_file
from repro.tasks.task import Split
from repro.workflow.stage_settings import required_reward_model, with_section

TOY_PARAMETERS = 20_000_000
"""ASSUMED: a model with fewer parameters gets the toy scale's settings. The toy models have up to a million; the smallest
instruction-tuned models on the hub have 135 million."""


@dataclass(frozen=True)
class StageOptions:
    """Options of one stage on the user's own models.

    Attributes:
        tasks: none for the scale's.
        data: a file with the rows of the one task.
        items: prompts of each task; None for the scale's number.
        split: the rows to take, every one for all; None for the stage's own: train where it trains or samples, else test.
        assignments: `key=value`, as for `--set`.
        fields: (field of the task, field of the file that holds it).
        instruction: what follows each question of a file-* task; "" for the question alone, None for the instruction of the
            task's kind.
    """

    tasks: tuple[str, ...] = ()
    data: Path | None = None
    items: int | None = None
    split: Split | None = None
    reward_model: str | None = None
    assignments: tuple[str, ...] = ()
    seed: int = 0
    fields: tuple[tuple[str, str], ...] = ()
    instruction: str | None = None

    def __post_init__(self) -> None:
        """Take a path for `data` as a string, too, and refuse a string for what is a tuple."""
        if isinstance(self.data, str):
            object.__setattr__(self, "data", Path(self.data))
        for name, example in (
            ("tasks", "('file-numeric',)"),
            ("assignments", "('steps=10',)"),
            ("fields", "(('prompt', 'question'),)"),
        ):
            value = getattr(self, name)
            has_text_for_pair = name == "fields" and any(isinstance(pair, str) for pair in value)
            if isinstance(value, str) or has_text_for_pair:
                raise InputError(f"StageOptions: {name} is {value!r}; a tuple is needed: {example}")


MINUS_SIGN = "\N{MINUS SIGN}"
"""Looks like the hyphen in "-0.5", and comes in with copied text."""


def calibrate_stage(teacher: str, options: StageOptions, *, target: str | None, eta: str) -> Calibrate:
    """Plan a calibration of one teacher.

    Raises:
        InputError: a model or data that cannot be used, or no target.
    """
    model = base_model(teacher)
    settings = _settings(teacher, options, "calibration")
    if target is None:
        if not is_toy_model(teacher):
            raise InputError(
                "--target is missing: name the student, or a proxy for it, whose log-likelihood is rewarded"
            )
        target = teacher.replace("teacher", "target")
    return Calibrate(
        teacher=model,
        target=base_model(target),
        data=_data(settings, options, options.split or "train"),
        reward_model=required_reward_model(settings),
        config=_valid(settings.calibration, eta=eta.replace(MINUS_SIGN, "-")),
        seed=options.seed,
        prompts_of=base_model(target) if settings.calibration_template == "student" else None,
    )


def sample_stage(model: str, options: StageOptions) -> Sample:
    """Plan completions of one model."""
    checked = base_model(model)
    # The paper's 16 completions a prompt, at every scale, unless the user requests another number
    default = "teacher_sampling.completions_per_prompt=16"
    settings = _settings(model, replace(options, assignments=(default, *options.assignments)), "teacher_sampling")
    data = _data(settings, options, options.split or "train")
    return Sample(model=checked, data=data, config=settings.teacher_sampling, seed=options.seed)


def distill_stage(student: str, teacher: str, method: str, options: StageOptions) -> Distill:
    """Plan one student from one teacher; if the method is off-policy, the teacher's completions are sampled first."""
    if method not in get_args(Method):
        raise InputError(f"--method {method}: use {', '.join(get_args(Method))}")
    student_model, teacher_model = base_model(student), base_model(teacher)
    settings = _settings(student, options, method.replace("-", "_"))
    if options.reward_model:
        settings = settings.model_copy(update={"reward_while_distilling": True})
    data = _data(settings, options, options.split or "train")
    config = {"sft": settings.sft, "gkd-fkl": settings.gkd_fkl, "gkd-rkl": settings.gkd_rkl}[method]
    samples = None
    if method != "gkd-rkl":
        samples = Sample(model=teacher_model, data=data, config=settings.teacher_sampling, seed=options.seed)
    return Distill(
        student=student_model,
        teacher=teacher_model,
        samples=samples,
        data=data,
        reward_model=distillation_reward(settings, config.method),
        config=config,
        seed=options.seed,
    )


def evaluate_stage(model: str, options: StageOptions) -> Evaluate:
    """Plan the evaluation of one model on held-out items."""
    checked = base_model(model)
    settings = _settings(model, options, "evaluation")
    return Evaluate(
        model=checked,
        data=_data(settings, options, options.split or "test"),
        reward_model=required_reward_model(settings),
        config=settings.evaluation,
        seed=options.seed,
    )


def traps_stage(teacher: str, student: str, options: StageOptions) -> Diagnose:
    """Plan the diagnosis of two models on held-out items; if their tokenizers differ, only what needs no common one."""
    from repro.diagnosis.vocabulary import has_shared_vocabulary

    teacher_model, student_model = base_model(teacher), base_model(student)
    settings = _settings(student, options, "evaluation", "diagnosis")
    data = _data(settings, options, options.split or "test")
    completions = [
        Sample(model=model, data=data, config=settings.evaluation, seed=options.seed)
        for model in (student_model, teacher_model)
    ]
    return Diagnose(
        student=student_model,
        teacher=teacher_model,
        on_policy=completions[0],
        off_policy=completions[1],
        across_tokenizers=not has_shared_vocabulary(locate(teacher), locate(student)),
        config=settings.diagnosis,
        seed=options.seed,
    )


def _settings(model: str, options: StageOptions, *sections: str) -> Settings:
    """Return toy settings for toy-sized models, else small ones; without a GPU, the engine is transformers.

    Args:
        sections: the stage's sections, whose settings need no prefix: in a calibration, `steps` is `calibration.steps`.

    A local copy of a toy model has 128 positions and trains at 3e-3: 512 tokens and 1e-5 would not suit it.
    """
    scale = scale_of(model)
    settings = SETTINGS[scale]()
    assignments = list(options.assignments)
    if scale != "toy" and not hardware()["gpus"] and not any(line.startswith("engine=") for line in assignments):
        assignments.insert(0, "engine=transformers")
    if options.tasks:
        assignments.append(f"tasks={','.join(options.tasks)}")
    if options.reward_model:
        assignments.append(f"reward_model={options.reward_model}")
    return override(settings, [with_section(line, settings, sections) for line in assignments])


def scale_of(model: str) -> Scale:
    """Return the scale whose models are about this size; small for any hub model."""
    location = locate(model)
    is_tiny = isinstance(location, Path) and count_parameters(location) < TOY_PARAMETERS
    return "toy" if is_tiny else "small"


def _data(settings: Settings, options: StageOptions, split: Split) -> tuple[TaskData, ...]:
    """Return the task data, read once here so that mistakes are reported before any work."""
    if options.data is not None and len(settings.tasks) != 1:
        raise InputError(
            f"--data {options.data}: also name the task that reads its rows, for example --task file-numeric"
        )
    if options.fields and options.data is None:
        raise InputError("--field: only with --data FILE, whose columns it names")
    if options.items is not None and options.items < 1:
        raise InputError(f"--items {options.items}: request at least one")
    by_split = {"train": settings.train_items, "test": settings.test_items, "all": None}
    n = options.items or by_split[split]
    source: dict[str, Any] = {"split": split, "seed": ITEM_ORDER}
    if options.data:
        source |= {"file": options.data.resolve(), "sha256": hash_data_file(options.data), "fields": options.fields}
    data = []
    for task in settings.tasks:
        count = n
        if options.data or registry.hub_of(task) is None:
            available = len(
                registry.get(task, data=source.get("file"), fields=options.fields).items(split, n=None, seed=ITEM_ORDER)
            )
            count = available if n is None else min(n, available)
        revision = None if options.data else registry.revision_of(task)
        instruction = registry.changed_instruction(task, options.instruction)
        data.append(TaskData(task=task, n=count, revision=revision, instruction=instruction, **source))
    return tuple(data)


def _valid(config: CalibrationConfig, **changes: object) -> CalibrationConfig:
    try:
        return CalibrationConfig.model_validate(config.model_dump() | changes)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--{first['loc'][0]} {first['input']}: {describe_problem(first)}. Example: --eta -0.5"
        ) from None
