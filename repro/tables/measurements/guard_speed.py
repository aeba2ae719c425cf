"""Sampling speed of guarded teachers relative to the open one, in tokens per second, from the stages' records."""

import json
from pathlib import Path
from typing import Any

from repro.recipes.labels import teacher_under
from repro.recipes.study import Row, Study
from repro.stages import Evaluate, Grade, Guarded, Rewrite, Sample, Stage
from repro.stages.artifact import RECORD
from repro.tables.guard_metrics import BASELINE

SAMPLING, REWRITING = "sampling", "rewriting"
"""Phases in a record; loading models and a guard's one-time preparation are separate phases."""


def guard_speeds(study: Study, cache: Path) -> dict[str, dict[str, float]]:
    """Return each guarded teacher's tokens per second relative to the open one's, by family and guard, first seed.

    Counts tokens as sampled, before any rewriting. Without a GPU, seconds are CPU time, so other work on the machine
    does not count. Leaves out guards whose records lack the times, and families without an open teacher.
    """
    speeds: dict[str, dict[str, float]] = {}
    for family in study.families:
        rows = {row.method: row for row in study.rows if row.family == family and row.seed == study.seeds[0]}
        guards = dict.fromkeys(row.guard for row in rows.values() if row.guard is not None)
        teachers = {guard: rows[teacher_under(guard)] for guard in guards if teacher_under(guard) in rows}
        rates = {guard: _tokens_per_second(teacher, cache) for guard, teacher in teachers.items()}
        open_rate = rates.get(BASELINE)
        if open_rate is not None:
            speeds[family] = {guard: rate / open_rate for guard, rate in rates.items() if rate is not None}
    return speeds


def _tokens_per_second(row: Row, cache: Path) -> float | None:
    stage = row.stage
    assert isinstance(stage, Evaluate | Grade)
    rewriting = 0.0
    sampled: Stage = stage
    if isinstance(stage, Grade):
        completions = stage.completions
        while isinstance(completions, Rewrite):
            if completions.guard.endpoint is not None:  # the server's time is not in the record
                return None
            spent = _seconds(completions, REWRITING, cache)
            if spent is None:
                return None
            rewriting += spent
            completions = completions.completions
        assert isinstance(completions, Sample | Guarded)
        sampled = completions
    seconds = _seconds(sampled, SAMPLING, cache)
    if seconds is None or seconds + rewriting <= 0:
        return None
    summary = json.loads((cache / sampled.folder_name / "summary.json").read_text())
    by_task = [summary[data.task] for data in sampled.data] if isinstance(sampled, Evaluate) else [summary]
    return sum(part["tokens"] for part in by_task) / (seconds + rewriting)


def _seconds(stage: Stage, phase: str, cache: Path) -> float | None:
    """Return a phase's seconds (wall clock on GPUs, else CPU time), or None if the record lacks the phase."""
    record: dict[str, Any] = json.loads((cache / stage.folder_name / RECORD).read_text())
    spent = record.get("phases", {}).get(phase)
    return None if spent is None else float(spent["wall" if record["gpus"] else "processor"])
