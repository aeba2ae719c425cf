"""Training history: one line per optimiser step with the logged figures, and the note of the progress bar."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from repro.progress import RESUMED, Progress


class ReportProgress(TrainerCallback):
    """Reports each step to `progress`, with a few figures as the note; a training that is resumed says so in each note.

    Args:
        names: names in the trainer's log to names in history.jsonl.
        note: history's names, in the order of the note; those that a step lacks are left out.
    """

    def __init__(self, progress: Progress, names: Mapping[str, str], note: Sequence[str]) -> None:
        self.progress = progress
        self.note = [(name, logged) for name in note for logged in names if names[logged] == name]
        self._resumed_at = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero and 0 < state.global_step < state.max_steps:
            self._resumed_at = state.global_step
            self.progress(state.global_step, state.max_steps, "steps", self._resumed())

    def _resumed(self) -> str:
        return f"{RESUMED} {self._resumed_at}" if self._resumed_at else ""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            values = [(name, logs.get(logged)) for name, logged in self.note]
            texts = [*(f"{name} {value:.3g}" for name, value in values if isinstance(value, float)), self._resumed()]
            self.progress(state.global_step, state.max_steps, "steps", " ".join(filter(None, texts)))


def history(log_history: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the trainer's log as rows of the figures in `names` (trainer's name -> ours); NaN and infinity are None.

    The trainer's log survives checkpoints, so the rows are those of an uninterrupted run. Times are left out: they
    would make two equal runs differ.
    """
    rows = []
    for entry in log_history:
        if "loss" in entry:
            row = {name: entry[logged] for logged, name in names.items() if logged in entry}
            rows.append({key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()})
    return rows


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def final_figures(rows: Sequence[Mapping[str, Any]], share: float = 0.1) -> dict[str, float]:
    """Return the mean of each figure over the last tenth of the steps, at least one; missing figures are left out."""
    means = {name: tail_mean(rows, name, share) for name in (rows[-1] if rows else ()) if name != "step"}
    return {name: mean for name, mean in means.items() if mean is not None}


def tail_mean(rows: Sequence[Mapping[str, Any]], name: str, share: float = 0.1) -> float | None:
    """Return the mean of a figure over the last tenth of the steps, at least one; None if none of them has it."""
    tail = rows[-max(1, round(len(rows) * share)) :]
    values = [row[name] for row in tail if row.get(name) is not None]
    return sum(values) / len(values) if values else None


def alarms(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return {"alarm": message} if vLLM's log-probabilities differed too much from the trainer's in any step, else {}."""
    from repro.generation.mismatch import mismatch_alarm

    gaps = [row["vllm_log_prob_gap"] for row in rows if "vllm_log_prob_gap" in row]
    message = next((alarm for gap in gaps if (alarm := mismatch_alarm(math.nan if gap is None else gap))), None)
    return {"alarm": message} if message else {}
