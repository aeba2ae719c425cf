"""What each training logged, step by step, short enough for results.json."""

import json
from itertools import pairwise
from pathlib import Path

from repro.recipes.study import Study
from repro.report.result import Curve
from repro.stages import Stage

HISTORY = "history.jsonl"
FIGURES = ("accuracy", "token_accuracy", "task_reward", "r_cal", "kl", "length", "loss")
"""Figures of a history that are kept. accuracy: of the completions drawn in training, on training prompts."""
BINS = 60
"""Points that a curve has at most: longer histories are averaged in bins of neighbouring steps."""


def collect_curves(study: Study, cache: Path) -> list[Curve]:
    """One curve per trained row and seed."""
    found: list[Curve] = []
    for row in study.rows:
        model = getattr(row.stage, "model", None)
        file = cache / model.folder_name / HISTORY if isinstance(model, Stage) else None
        if model is not None and file is not None and file.is_file():
            history = [json.loads(line) for line in file.read_text().splitlines()]
            steps, figures = binned(history)
            found.append(
                {
                    "family": row.family,
                    "method": row.method,
                    "seed": row.seed,
                    "stage": model.does,
                    "steps": steps,
                    "figures": figures,
                }
            )
    return found


def binned(history: list[dict[str, float | None]]) -> tuple[list[int], dict[str, list[float | None]]]:
    """Last step of each bin, and each figure's mean over the bin (None where no step of it has the figure)."""
    n = min(BINS, len(history))
    edges = [round(i * len(history) / n) for i in range(n + 1)] if n else [0]
    bins = [history[a:b] for a, b in pairwise(edges)]
    names = [name for name in FIGURES if any(row.get(name) is not None for row in history)]
    return [int(rows[-1]["step"] or 0) for rows in bins], {name: [_mean(rows, name) for rows in bins] for name in names}


def _mean(rows: list[dict[str, float | None]], name: str) -> float | None:
    values = [value for row in rows if (value := row.get(name)) is not None]
    return float(f"{sum(values) / len(values):.6g}") if values else None
