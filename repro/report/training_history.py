"""Training logs, short enough for results.json."""

import json
from itertools import pairwise
from pathlib import Path

from repro.recipes.study import Study
from repro.report.result import Curve

HISTORY = "history.jsonl"
METRICS = ("accuracy", "token_accuracy", "task_reward", "r_cal", "kl", "length", "loss")
"""Metrics of a history that are stored. accuracy: of the completions sampled in training, on training prompts."""
BINS = 60
"""Points that a curve has at most: longer histories are averaged in bins of neighbouring steps."""


def collect_curves(study: Study, cache: Path) -> list[Curve]:
    """Read one curve per trained row and seed."""
    curves: list[Curve] = []
    for row in study.rows:
        model = getattr(row.stage, "model", None)
        if model is not None and model.folder_name and (cache / model.folder_name / HISTORY).is_file():
            curves.append(read_curve(cache / model.folder_name, row.family, row.method, row.seed, model.kind))
    return curves


def read_curve(folder: Path, family: str, method: str, seed: int, stage: str) -> Curve:
    """Read the curve of a training's artifact. stage: its kind."""
    lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines()
    steps, figures = binned([json.loads(line) for line in lines])
    return {"family": family, "method": method, "seed": seed, "stage": stage, "steps": steps, "figures": figures}


def binned(history: list[dict[str, float | None]]) -> tuple[list[int], dict[str, list[float | None]]]:
    """Return the last step of each bin, and each metric's mean over the bin (None if no step of it has the metric)."""
    n = min(BINS, len(history))
    edges = [round(i * len(history) / n) for i in range(n + 1)] if n else [0]
    bins = [history[a:b] for a, b in pairwise(edges)]
    metrics = [name for name in METRICS if any(line.get(name) is not None for line in history)]
    means = {name: [_mean(lines, name) for lines in bins] for name in metrics}
    return [int(lines[-1]["step"] or 0) for lines in bins], means


def _mean(lines: list[dict[str, float | None]], name: str) -> float | None:
    values = [value for line in lines if (value := line.get(name)) is not None]
    return float(f"{sum(values) / len(values):.6g}") if values else None
