"""Facts about a measured table's tasks and rows besides their values: scores of guessing, and idle teachers."""

from collections.abc import Sequence
from typing import Any

from repro.errors import InputError

Reasons = tuple[str | None, ...]
"""Per seed: why the calibrated teacher behind a row has not moved, or None if it has."""
Idle = dict[str, dict[str, Reasons]]
"""Row -> task -> reasons: a row may represent one model per task."""


def read_chance(content: Any) -> dict[str, float]:
    """Read the scores of guessing by task, in 0..1."""
    for task, score in content.items() if isinstance(content, dict) else [("chance", content)]:
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InputError(f"result: the chance level of {task} is {score!r}, not a share from 0 to 1.")
    return dict(content)


def read_idle(content: Any, seeds: int) -> Idle:
    """Read the idle rows: by task, a reason (or None) per seed."""
    is_shaped = isinstance(content, dict) and all(isinstance(by_task, dict) for by_task in content.values())
    cells = [reasons for by_task in content.values() for reasons in by_task.values()] if is_shaped else [content]
    for reasons in cells:
        is_list = isinstance(reasons, list) and len(reasons) == seeds
        if not is_list or not all(isinstance(reason, str | None) for reason in reasons):
            raise InputError(
                f"result: idle is {reasons!r}, not a reason or null for each of {seeds} seeds, by row and task."
            )
    return {row: {task: tuple(reasons) for task, reasons in by_task.items()} for row, by_task in content.items()}


def describe_idleness(reasons: Reasons, seeds: Sequence[int]) -> str | None:
    """Say why a teacher has not moved, and under which seeds; None if it moved under all."""
    idle = {seed: reason for seed, reason in zip(seeds, reasons) if reason}
    if not idle:
        return None
    first, *others = idle
    text = f" at seed {first}" if len(seeds) > 1 else ""
    text += f" (also idle at {', '.join(map(str, others))})" if others else ""
    return f"{idle[first]}{text}"


def idle_under(idle: Idle, index: int) -> Idle:
    """Return what is idle under one seed, by its index."""
    cut = {row: {t: r[index : index + 1] for t, r in by_task.items() if r[index]} for row, by_task in idle.items()}
    return {row: by_task for row, by_task in cut.items() if by_task}


def join_idle(parts: Sequence[tuple[Idle, int]]) -> Idle:
    """Join the idle rows of several runs, given each run's number of seeds."""
    joined: Idle = {}
    cells = dict.fromkeys((row, task) for idle, _ in parts for row, by_task in idle.items() for task in by_task)
    for row, task in cells:
        reasons = [idle.get(row, {}).get(task, (None,) * seeds) for idle, seeds in parts]
        joined.setdefault(row, {})[task] = tuple(reason for of_part in reasons for reason in of_part)
    return joined
