"""Notices on how a stage uses the user's rows: how a file is split, and when there are fewer items than requested."""

import contextlib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from repro.stages import BaseModelRef, Stage, TaskData, topological_order
from repro.stages.model_origin import training_behind
from repro.tasks import registry
from repro.tasks.own_file import KINDS
from repro.tasks.prompts import INSTRUCTIONS
from repro.tasks.row_counts import count_items


def stage_notices(stage: Stage, requested: int | None, cache: Path) -> list[str]:
    """Return all notices that the user should read before the stage runs; see the functions below.

    Raises:
        InputError: a file cannot be read.
    """
    instructions = [*instruction_notices(stage), *training_notices(stage, cache)]
    return [*row_notices(stage, requested), *instructions, *twin_notices(stage)]


def row_notices(stage: Stage, requested: int | None) -> list[str]:
    """Return a notice for each file whose rows are split, and for each task with fewer items than requested.

    Args:
        stage: checked together with its inputs.
        requested: items per task that the user asked for; None if not given.

    Raises:
        InputError: a file cannot be read.
    """
    sources = dict.fromkeys(data for needed in topological_order([stage]) for data in needed.data)
    return [line for source in sources for line in _notices(source, requested)]


def instruction_notices(stage: Stage) -> list[str]:
    """Return a notice for each of the user's files whose questions get the default instruction of the task's kind."""
    files = dict.fromkeys(
        (data.file.name, INSTRUCTIONS[KINDS[data.task]])
        for needed in topological_order([stage])
        for data in needed.data
        if data.file and data.task in KINDS and data.instruction is None
    )
    return [
        f"{name}: this instruction follows each question: '{text}' --instruction TEXT replaces it, --instruction '' removes it"
        for name, text in files
        if text
    ]


def training_notices(stage: Stage, cache: Path) -> list[str]:
    """Return a notice for each model trained with a different instruction than it reads here.

    Args:
        cache: the folder of artifacts, in which a model's training record is looked up.
    """
    lines = []
    for needed in topological_order([stage]):
        for model in needed.base_models():
            made_by = training_behind(model.name, cache) or {}
            for data in needed.data:
                trained: set[str] = set()
                with contextlib.suppress(KeyError, TypeError, AttributeError):  # a damaged record: skip its notice
                    sources = [source for source in made_by["data"] if source["task"] == data.task]
                    trained = {_instruction(data.task, source["instruction"]) for source in sources}
                read = _instruction(data.task, data.instruction)
                if trained and read not in trained:
                    texts = " or ".join(f"'{text}'" for text in sorted(trained))
                    lines.append(
                        f"{model.name} was trained with the instruction {texts}, but reads '{read}' here: --instruction TEXT changes it"
                    )
    return list(dict.fromkeys(lines))


def twin_notices(stage: Stage) -> list[str]:
    """Return a notice if a stage compares a model with itself."""
    models = {role: getattr(stage, role, None) for role in ("teacher", "student", "target")}
    refs = {role: model for role, model in models.items() if isinstance(model, BaseModelRef)}
    pairs = [
        (a, b)
        for a, b in combinations(refs, 2)
        if refs[a].name == refs[b].name or refs[a].revision == refs[b].revision != "unpinned"
    ]
    return [f"{a} and {b} are the same model" for a, b in pairs]


def _instruction(task: str, changed: str | None) -> str:
    """Return the text after each question if the task reads the user's rows; other tasks have their own."""
    return changed if changed is not None else INSTRUCTIONS[KINDS[task]] if task in KINDS else ""


def _notices(source: TaskData, requested: int | None) -> Iterator[str]:
    name = source.task if source.file is None else source.file.name
    available = count_items(source.task, source.split, source.revision)
    is_divided = False
    if source.file:
        task = registry.get(source.task, data=source.file, fields=source.fields)
        rows = task.items(source.split, n=None, seed=source.seed)
        available = len(rows)
        is_divided = source.split != "all" and registry.has_training_rows(source.task)
    if is_divided:
        total = len(task.items("all", n=None, seed=source.seed))
        counts = {source.split: len(rows), "test" if source.split == "train" else "train": total - len(rows)}
        used = counts[source.split] if source.n is None else min(source.n, counts[source.split])
        more = "--items N changes the number" if used < counts[source.split] else "--split all uses every row"
        part = f"All {source.split} rows" if used == counts[source.split] else f"{used} of the {source.split} rows"
        yield (
            f"{name}: {total} rows, split by a hash of their content: {counts['train']} train, {counts['test']} test. {part}"
            f" are used; {more}"
        )
    if requested is not None and available is not None and available < requested:
        yield f"{name}: {requested} items requested, but split {source.split} has {available}: all of them are used"
