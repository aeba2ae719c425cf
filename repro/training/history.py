"""One line per optimiser step: what the trainer logged, in the kit's own words; the live note of the bar."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from repro.progress import Progress


class ReportProgress(TrainerCallback):
    """Tells `progress` each step, with a few figures as the note.

    Args:
        names: the trainer's names of figures to ours.
        shown: ours, in the order of the note; those that a step lacks are left out.
    """

    def __init__(self, progress: Progress, names: Mapping[str, str], shown: Sequence[str]) -> None:
        self.progress = progress
        self.shown = [(ours, theirs) for ours in shown for theirs in names if names[theirs] == ours]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            figures = [(ours, logs.get(theirs)) for ours, theirs in self.shown]
            note = " ".join(f"{ours} {value:.3g}" for ours, value in figures if isinstance(value, float))
            self.progress(state.global_step, state.max_steps, "steps", note)


def history(log_history: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The trainer's log as rows of the figures in `names` (trainer's name -> ours); not-a-number is None.

    The trainer's log survives checkpoints, so the rows are those of an undisturbed run. Times are left out:
    they would make two equal runs differ.
    """
    rows = []
    for entry in log_history:
        if "loss" in entry:
            row = {ours: entry[theirs] for theirs, ours in names.items() if theirs in entry}
            rows.append({key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()})
    return rows


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def final_figures(rows: Sequence[Mapping[str, Any]], share: float = 0.1) -> dict[str, float]:
    """Mean of each figure over the last tenth of the steps, at least one; missing figures are left out."""
    tail = rows[-max(1, round(len(rows) * share)) :] if rows else []
    figures: dict[str, float] = {}
    for name in tail[-1] if tail else ():
        values = [row[name] for row in tail if row.get(name) is not None]
        if values and name != "step":
            figures[name] = sum(values) / len(values)
    return figures


def alarms(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{"alarm": words} where vLLM's log-probabilities left the trainer's in any step; empty where they did not."""
    from repro.generation.mismatch import mismatch_alarm

    gaps = [row["vllm_log_prob_gap"] for row in rows if "vllm_log_prob_gap" in row]
    words = next((found for gap in gaps if (found := mismatch_alarm(math.nan if gap is None else gap))), None)
    return {"alarm": words} if words else {}
