"""Artifact folder of a stage: its file names, and the check for completeness."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.stages.stage import Stage
from repro.system.atomic_write import look_again

CACHE = "cache"
RECORD = "record.json"
ROLLOUTS = "rollouts.parquet"
MODEL = "model"


def is_complete(folder: Path) -> bool:
    """Return True if the folder has its final record, even one just written by a job on another machine."""
    if (folder / RECORD).is_file():
        return True
    look_again(folder.parent)
    return (folder / RECORD).is_file()


def which_cached(stages: Sequence[Stage], out: Path) -> list[bool]:
    """Return, for each stage, whether it has an artifact. Touches nothing."""
    return [is_complete(out / CACHE / stage.folder_name) for stage in stages]


def count_undecided(summary: Mapping[str, Any]) -> int:
    """Count the answers, over all tasks in a stage's summary, whose grading hit a limit."""
    per_task = [value.get("undecided", 0) for value in summary.values() if isinstance(value, dict)]
    return sum(per_task, start=summary.get("undecided", 0))


def find_warnings(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the warnings in a stage's summary, by subject."""
    warnings = dict(summary.get("warnings", {}))
    if alarm := summary.get("alarm") or summary.get("sampler", {}).get("alarm"):
        warnings["sampler"] = alarm
    if count := count_undecided(summary):
        warnings["undecided"] = f"{count} answers could not be graded within the limits (undecided); they score 0"
    for task, reasons in summary.get("skipped_rows", {}).items():
        rows = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        warnings[f"rows of {task}"] = f"unusable rows of the data set were left out ({rows})"
    return warnings
