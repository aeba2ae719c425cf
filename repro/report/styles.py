"""How the models of a study answer: the share of completions that reason, and their length, beside the accuracy.

An accuracy alone hides the cheapest way to a bad student: a teacher that no longer writes its reasoning.
"""

import json
from pathlib import Path
from statistics import mean

from repro.evaluation.reasoning import has_reasoning
from repro.generation.rollouts import stream_rows
from repro.recipes.study import Row, Study
from repro.report.style_line import StyleLine
from repro.stages import Evaluate, Grade
from repro.stages.artifact import ROLLOUTS
from repro.tasks import registry


def answer_styles(study: Study, cache: Path) -> list[StyleLine]:
    """Return a line for each evaluated or graded row of a study, averaged over seeds and tasks, in the order of its rows."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in study.rows:
        if isinstance(row.stage, Evaluate | Grade):
            rows.setdefault((row.family, row.method), []).append(row)
    return [_style(family, method, group, cache) for (family, method), group in rows.items()]


def _style(family: str, method: str, rows: list[Row], cache: Path) -> StyleLine:
    """Average over the evaluations of a row: one per seed, or per seed and task."""
    summaries, reasoning = [], []
    for folder in (cache / row.stage.folder_name for row in rows):
        summary = json.loads((folder / "summary.json").read_text())
        summaries += [summary[task] for task in registry.names() if task in summary]  # beside tasks there are warnings
        reasoning += _reasoning_shares(folder / ROLLOUTS)
    return {
        "family": family,
        "method": method,
        "score": mean(summary.get("acc", summary.get("reward")) for summary in summaries),
        "reasoning": mean(reasoning) if reasoning else None,
        "tokens": mean(summary["mean_tokens"] for summary in summaries),
    }


def _reasoning_shares(rollouts: Path) -> list[float]:
    """Return the share of completions that reason, for each task with answers."""
    counts: dict[str, list[int]] = {}
    for row in stream_rows(rollouts, ["task", "text"]):
        reasons_total = counts.setdefault(row["task"], [0, 0])
        reasons_total[0] += has_reasoning(row["text"])
        reasons_total[1] += 1
    return [reasons / total for task, (reasons, total) in counts.items() if registry.kind_of(task) != "open"]
