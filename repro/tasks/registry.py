"""Registry of tasks by name. Imports neither torch nor datasets nor sympy, so that listing is instant."""

import re
from collections.abc import Iterable
from pathlib import Path

from repro.errors import InputError
from repro.system import hub_lock
from repro.system.input_errors import did_you_mean
from repro.tasks.bigmath import CONFIGS, BigMath
from repro.tasks.csqa import CommonsenseQa
from repro.tasks.dataset import DataSetTask
from repro.tasks.dolly import Dolly
from repro.tasks.extraction import LETTERS
from repro.tasks.gsm8k import Gsm8k
from repro.tasks.hub import HubSource
from repro.tasks.mmlu_pro import MmluPro
from repro.tasks.own_file import KINDS, OwnFile
from repro.tasks.plugin import TASKS, TaskPlugin, content_of, data_set_of, find_task
from repro.tasks.prompts import INSTRUCTIONS
from repro.tasks.supergpqa import SuperGpqa
from repro.tasks.task import Kind, Task
from repro.tasks.vicuna import Vicuna

_TASKS: dict[str, type[DataSetTask]] = {
    "bigmath-4": BigMath,
    "bigmath-5": BigMath,
    "csqa": CommonsenseQa,
    "mmlu-pro": MmluPro,
    "supergpqa": SuperGpqa,
    "dolly": Dolly,
    "vicuna": Vicuna,
    "gsm8k": Gsm8k,
    **dict.fromkeys((name for name in CONFIGS if "quintile" in name), BigMath),
    **dict.fromkeys(KINDS, OwnFile),
}


def names() -> tuple[str, ...]:
    """Return all known tasks: the paper's seven, gsm8k, variants, the user's file, the toy tasks, and plug-ins."""
    from repro.toy.pool import TASK_NAMES

    return (*_TASKS, *TASK_NAMES, *TASKS.names())


def is_toy_task(name: str) -> bool:
    """Return True if the embedded world makes the task's rows."""
    return name.startswith("toy-")


def get(
    name: str,
    *,
    data: Path | None = None,
    revision: str | None = None,
    fields: Iterable[tuple[str, str]] = (),
    instruction: str | None = None,
) -> Task:
    """Return the task of that name.

    Args:
        data: file or folder of the user, instead of the hub (see `repro.tasks.dataset`).
        revision: commit on the hub. Default: that of the lock, and "unpinned" if the lock has none. Of a toy task: the name
            of its world. Default: the default world.
        fields: (field of the task, field of the file that holds it).
        instruction: what follows each question of the user's file; None for the instruction of the task's kind.

    Raises:
        InputError: unknown name, unknown world, a file for a toy task, no such file, a field that the task does not read, or an
            instruction for a task that has its own.
    """
    if instruction is not None:
        _check_instruction(name, instruction)
    if is_toy_task(name):
        from repro.tasks import toy
        from repro.toy.world import DEFAULT_WORLD, parse_world

        if data is not None:
            raise InputError(
                f"task {name} generates its rows and takes no file: drop --data {data}, or choose another task."
            )
        return toy.get_task(name, parse_world(revision) if revision else DEFAULT_WORLD)
    data_set = _class_of(name)
    if data is None and revision is None and data_set.hub is not None:
        revision = hub_lock.pinned_revision(data_set.hub.id)
    task = data_set(name, data, revision)
    for ours, theirs in dict(fields).items():
        if ours not in re.findall(r"\w+", task.schema):
            raise InputError(f"--field {ours}={theirs}: task {name} reads no field {ours!r}. Expected: {task.schema}.")
    task.fields = dict(fields)
    if isinstance(task, OwnFile):
        task.instruction = instruction
    return task


def changed_instruction(name: str, instruction: str | None) -> str | None:
    """Return an instruction that differs from that of the task's kind, else None: the same prompts are the same stage.

    Raises:
        InputError: the task is not of the user's file.
    """
    if instruction is None:
        return None
    _check_instruction(name, instruction)
    return None if instruction == INSTRUCTIONS[KINDS[name]] else instruction


def _check_instruction(name: str, instruction: str) -> None:
    if name not in KINDS:
        raise InputError(
            f"--instruction: task {name} has a fixed prompt. Use --instruction with --task {' or '.join(KINDS)}, or write a task"
            " (docs/plugins.md)."
        )
    try:
        instruction.encode()
    except UnicodeEncodeError:
        raise InputError(f"--instruction {instruction!r}: not valid Unicode. Write it in UTF-8.") from None


def kind_of(name: str) -> Kind:
    """Return the kind of a task, without its rows."""
    if is_toy_task(name):
        return get(name).kind
    return KINDS[name] if name in KINDS else _class_of(name).kind


def chance(name: str) -> float:
    """Return the score of guessing: 1 / the most options that a question of a choice has, 1 / the numbers that can be right.

    0 where guessing scores nothing that a run could see: free numbers, and open-ended tasks.
    """
    options = _options_of(name) or (len(LETTERS) if kind_of(name) == "choice" else None)
    return 1 / options if options else 0.0


def declared_chance(name: str) -> float | None:
    """Return the score of guessing of a task whose number of options is fixed; None for all others, unknown tasks too."""
    options = _options_of(name) if name in names() else None
    return 1 / options if options else None


def _options_of(name: str) -> int | None:
    if is_toy_task(name):
        from repro.tasks import toy

        return toy.get_task(name).options
    return _class_of(name).options


def hub_of(name: str) -> HubSource | None:
    """Return the source of a task's rows; None for the embedded world and for the user's file."""
    return None if is_toy_task(name) else _class_of(name).hub


def revision_of(name: str) -> str | None:
    """Return the commit of the task's rows in the lock, else 'unpinned'; None if they are not on the hub."""
    source = hub_of(name)
    return None if source is None else hub_lock.pinned_revision(source.id)


def has_training_rows(name: str) -> bool:
    """True if the task has training rows, which evaluation-only tasks lack. Reads no rows."""
    if is_toy_task(name):
        return True
    source = _class_of(name).hub
    return source is None or source.train is not None


def plugin_of(name: str) -> type[TaskPlugin] | None:
    """Return the class of a plug-in task; None for other names."""
    return None if name in _TASKS or is_toy_task(name) else find_task(name)


def plugin_content(name: str) -> str | None:
    """Return the content hash of a plug-in task; None for other names."""
    return None if name in _TASKS or is_toy_task(name) else content_of(name)


def _class_of(name: str) -> type[DataSetTask]:
    if plugin := plugin_of(name):
        return data_set_of(plugin)
    if name not in _TASKS:
        raise InputError(f"unknown task {name!r}. {did_you_mean(name, names())}Known are {', '.join(names())}.")
    return _TASKS[name]
