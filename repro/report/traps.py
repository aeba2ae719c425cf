"""A diagnosis as rows of text, and its figures as files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.recipes.study import Study

FIGURES = "figures"
EXPLAINED = (
    "Intervals: 95 %, two-level bootstrap (prompts, then their rollouts). Student's completions are on-policy, the"
    " teacher's off-policy. The importance-weighted cells (is_*) are diagnosed and never matched: a healthy one has"
    " mean_weight 1, an effective sample size near the number of rollouts, no weight with a large share, and Pareto-k"
    " below 0.7. A sum over a Top-K is a partial sum and may be negative."
)


def write_figures(study: Study, cache: Path, folder: Path) -> list[Path]:
    """Figure 2 of every row's first seed below `folder`, with its data."""
    written = []
    for row in study.rows:
        if row.seed == study.seeds[0]:
            artifact = cache / row.stage.folder_name
            summary = json.loads((artifact / "summary.json").read_text())
            title = f"{row.family}, {row.method}, seed {row.seed}"
            written += contribution_figures(artifact, summary, folder / FIGURES, title)
    return written


CORRELATION = (
    "Spearman's rank correlation of a token's frequency and its mean contribution, over tokens that occur in three blocks"
    " of prompts or more; 95 % intervals from leaving out each block in turn. Part of the correlation at K = V is arithmetic: there the"
    " mean runs over all steps, so a token that is likely on more steps contributes more. The Top-K sums of Table 1's panel"
    " say how much of the KL lies beyond the first K."
)


def panel_rows(panel: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """A line per measure, a column per task."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for one in panel:
        line = lines.setdefault(
            (one["policy"], one["measure"]),
            {"completions": one["policy"], "measure": one["measure"], "unit": one["unit"]},
        )
        line[one["task"]] = cell(one)
    tasks = list(dict.fromkeys(one["task"] for one in panel))
    heads = ("completions", "measure", "unit", *tasks)
    return [{head: line.get(head, "") for head in heads} for line in lines.values()]


def frequency_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """A line per K, a column per task."""
    lines: dict[str, dict[str, str]] = {}
    for one in summary["frequency"]:
        name = "K=V" if one["whole_vocabulary"] else f"K={one['k']}"
        lines.setdefault(name, {"K": name})[one["task"]] = f"{cell(one, 'correlation')}, {one['tokens']} tokens"
    return list(lines.values())


def cell(one: dict[str, Any], key: str = "value") -> str:
    """`value [low, high]`."""
    return f"{_short(one[key])} [{_short(one['low'])}, {_short(one['high'])}]"


def gradient_words(summary: dict[str, Any]) -> str:
    """The bonus comparison in a sentence."""
    ratios = sorted(one["ratio"] for one in summary["gradient_variance"] if isinstance(one["ratio"], float))
    if not ratios:
        return "Gradient variance: no prompt with two different rollouts."
    return (
        f"Gradient variance between rollouts, sequence KL over token KL with the later states' part (they aim at the same"
        f" gradient): median ratio {ratios[len(ratios) // 2]:.3g} over {len(ratios)} prompts, first"
        f" {summary['gradient_tokens']} tokens."
    )


def contribution_figures(artifact: Path, summary: dict[str, Any], folder: Path, title: str) -> list[Path]:
    """Figure 2 and the gradient comparison of one diagnosis, as PNG and SVG, with their data."""
    from repro.report.trap_figures import contribution_table, draw_contributions, draw_gradients, write_csv

    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(title.replace("/", "-").replace(":", "-").replace(",", "").split())
    rows = contribution_table(artifact)
    written = [write_csv(folder / f"contributions-{stem}.csv", rows)]
    written += draw_contributions(rows, summary["frequency"], folder / f"contributions-{stem}", title)
    if summary["gradient_variance"]:
        written.append(write_csv(folder / f"gradients-{stem}.csv", summary["gradient_variance"]))
        written += draw_gradients(summary["gradient_variance"], folder / f"gradients-{stem}", title)
    return written


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
