"""What stages read: models, task items, and notes on them for the summary."""

from collections import Counter
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.loading import locate, revision_of
from repro.stages import Calibrate, Distill, Evaluate, Grade, Sample, TaskData, TrainOutputLayer
from repro.stages.artifact import MODEL
from repro.stages.references import Model
from repro.tasks import registry
from repro.tasks.own_file import hash_data_file
from repro.tasks.task import Item, Task


def model_path(model: Model, cache: Path) -> Path | str:
    """Return the folder (or hub id) of a model input. A base model must not have changed since it was planned."""
    if model.folder_name is not None:
        return cache / model.folder_name / MODEL
    base = model.base_model
    if revision_of(base.name) != base.revision:
        raise InputError(f"model {base.name} has changed since this run was planned. Run again.")
    return locate(base.name)


def reward_model_path(stage: Calibrate | Distill | Evaluate | Grade, cache: Path) -> Path | str | None:
    """Return the folder (or hub id) of the stage's reward model, or None."""
    return model_path(stage.reward_model, cache) if stage.reward_model else None


def opens_in_thought(model: Model, reasoning: bool, cache: Path) -> bool:
    """Return True if the model's chat template leaves a thought open at the end of a prompt."""
    from repro.evaluation import thoughts

    return thoughts.opens_in_thought(model_path(model, cache), reasoning=reasoning)


def read_items(data: tuple[TaskData, ...]) -> list[Item]:
    """Return all items of all tasks, in order. A file must not have changed since it was planned."""
    return read_tasks(data)[1]


def read_tasks(data: tuple[TaskData, ...]) -> tuple[list[Task], list[Item]]:
    """Return the tasks and all their items, in order."""
    for source in data:
        if source.file is not None and hash_data_file(source.file) != source.sha256:
            raise InputError(f"data {source.file} has changed since this run was planned. Run again.")
    tasks = [
        registry.get(
            source.task,
            data=source.file,
            revision=source.revision,
            fields=source.fields,
            instruction=source.instruction,
        )
        for source in data
    ]
    items = [item for task, source in zip(tasks, data) for item in task.items(source.split, source.n, source.seed)]
    if not items:
        raise InputError(f"no items in {', '.join(source.task for source in data)}: request at least one")
    return tasks, items


def count_items(stage: Calibrate | Sample | Distill | TrainOutputLayer) -> dict[str, Any]:
    """Count the items of each task: there may be fewer than requested, and hub rows may be skipped."""
    tasks, items = read_tasks(stage.data)
    return {"items": dict(Counter(item.task for item in items))} | skipped_rows(tasks)


def skipped_rows(tasks: list[Task]) -> dict[str, Any]:
    """Return the skipped rows by task and reason; empty if there are none."""
    skipped = {task.name: task.skipped_rows for task in tasks if task.skipped_rows}
    return {"skipped_rows": skipped} if skipped else {}


def compare_templates(stage: Distill, cache: Path) -> dict[str, str]:
    """Return {"templates": message} if a teacher scores prompts under another template than in training, else {}."""
    if stage.config.method == "sft" or (isinstance(stage.teacher, Calibrate) and stage.teacher.prompts_of):
        return {}
    from repro.models.chat_tokens import has_same_template
    from repro.models.loading import load_tokenizer

    models = model_path(stage.teacher, cache), model_path(stage.student, cache)
    teacher, student = map(load_tokenizer, models)
    if has_same_template(teacher, student, stage.config.reasoning):
        return {}
    message = (
        f"{stage.teacher.base_model.name} and {stage.base_model.name} have different chat templates; the teacher scores the"
        " student's prompts as the student reads them"
    )
    if isinstance(stage.teacher, Calibrate):
        message += (
            ", and was calibrated under its own template: what the calibration changed need not show there"
            " (--set calibration_template=student calibrates under the student's)"
        )
    return {"templates": message}
