"""Training history: one line of logged metrics per optimiser step, and the note on the progress bar."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from repro.progress import RESUMED, Progress


class ReportProgress(TrainerCallback):
    """Reports each step to `progress`, with a few metrics as the note; a resumed run says so in every note.

    Args:
        names: maps names in the trainer's log to names in history.jsonl.
        note: names in the history, in the order of the note; metrics missing from a step are skipped.
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
    """Return the trainer's log as rows of the metrics in `names` (trainer's name -> ours); NaN and inf become None.

    The trainer's log is part of each checkpoint, so a resumed run has the rows of an uninterrupted one. Times are left
    out, because they would make two equal runs differ.
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
    """Return the mean of each metric over the last tenth of the steps (at least one); missing metrics are omitted."""
    means = {name: tail_mean(rows, name, share) for name in (rows[-1] if rows else ()) if name != "step"}
    return {name: mean for name, mean in means.items() if mean is not None}


def tail_mean(rows: Sequence[Mapping[str, Any]], name: str, share: float = 0.1) -> float | None:
    """Return the mean of a metric over the last tenth of the steps (at least one step); None if it was not logged."""
    tail = rows[-max(1, round(len(rows) * share)) :]
    values = [row[name] for row in tail if row.get(name) is not None]
    return sum(values) / len(values) if values else None


def alarms(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return {"alarm": message} if vLLM's log-probabilities differed too much from the trainer's in any step, else {}."""
    from repro.generation.mismatch import mismatch_alarm

    gaps = [row["vllm_log_prob_gap"] for row in rows if "vllm_log_prob_gap" in row]
    message = next((alarm for gap in gaps if (alarm := mismatch_alarm(math.nan if gap is None else gap))), None)
    return {"alarm": message} if message else {}
