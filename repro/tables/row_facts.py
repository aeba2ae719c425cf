"""Facts of a measured table's tasks and rows beside their values: the scores of guessing, and idle teachers."""

from typing import Any

from repro.errors import InputError

Idle = tuple[str | None, ...]
"""By seed: why the calibrated teacher behind a row has not moved, None if it has."""


def read_chance(content: Any) -> dict[str, float]:
    """Return the scores of guessing: shares of 1, by task."""
    for task, score in content.items() if isinstance(content, dict) else [("chance", content)]:
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InputError(f"result: the score of guessing of {task} is {score!r}, not a share from 0 to 1.")
    return dict(content)


def read_idle(content: Any, seeds: int) -> dict[str, Idle]:
    """Return the idle rows: for each of the seeds a reason, or None."""
    for row, reasons in content.items() if isinstance(content, dict) else [("idle", content)]:
        is_list = isinstance(reasons, list) and len(reasons) == seeds
        if not is_list or not all(isinstance(reason, str | None) for reason in reasons):
            raise InputError(f"result: idle row {row} is {reasons!r}, not a reason or null for each of {seeds} seeds.")
    return {row: tuple(reasons) for row, reasons in content.items()}
