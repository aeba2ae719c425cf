"""Diagnoses of teacher-student pairs as rows of text."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from repro.report.blocks import Cell, Grid
from repro.report.merge import Part
from repro.report.trap_measures import interval_cell

EXPLAINED = (
    "Intervals: 95 %, two-level bootstrap (prompts, then their rollouts). Student's completions are on-policy, the"
    " teacher's off-policy. The importance-weighted cells (is_*) are never compared with the paper's: they are healthy with"
    " mean_weight 1, an effective sample size near the number of rollouts, no weight with a large share, and Pareto-k"
    " below 0.7. A sum over a Top-K is a partial sum and may be negative."
)
CORRELATION = (
    "Spearman's rank correlation of a token's frequency and its mean contribution, over tokens that occur in three blocks"
    " of prompts or more; 95 % intervals from leaving out each block in turn. The correlation at K = V is partly arithmetic: there"
    " the mean runs over all steps, so a token that is likely on more steps contributes more, whatever its tail does. The"
    " claims are therefore about the tail alone: the mean over the steps at which the token is outside the student's Top-K, and"
    " the share of the KL that lies there."
)


def diagnoses(part: Part) -> list[tuple[str, dict[str, Any]]]:
    """Return (title, summary) of each row's diagnosis under its first seed."""
    return list(_by_row(part).values())


def _by_row(part: Part) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Return (family, label) of a row -> (title, summary) of its diagnosis under its first seed."""
    by_row: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for source in part.sources:
        summaries = {
            line["artifact"]: line["summary"] for line in source.content["stages"] if line["stage"] == "diagnose"
        }
        for row in source.content["rows"]:
            if row["artifact"] in summaries and row["family"] in part.report.families:
                title = f"{row['family']}, {row['method']}, seed {row['seed']}"
                by_row.setdefault((row["family"], row["method"]), (title, summaries[row["artifact"]]))
    return by_row


def diagnosed_rows(part: Part) -> list[tuple[str, dict[str, Any]]]:
    """Return label and summary of each row's diagnosis under its first seed; the family is named where there are several."""
    several = len(part.report.families) > 1
    return [(f"{row} ({family})" if several else row, summary) for (family, row), (_, summary) in _by_row(part).items()]


def panel_rows(panel: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Lay out a panel: a row per measure, a column per task."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in panel:
        head = {"completions": cell["policy"], "measure": cell["measure"], "unit": cell["unit"]}
        rows.setdefault((cell["policy"], cell["measure"]), head)[cell["task"]] = _with_interval(cell, "value")
    tasks = list(dict.fromkeys(cell["task"] for cell in panel))
    heads = ("completions", "measure", "unit", *tasks)
    return [{head: row.get(head, "") for head in heads} for row in rows.values()]


def frequency_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """Lay out rank correlations and each tail's share of the KL: a row per K and per tail, a column per task."""
    rows: dict[str, dict[str, str]] = {}
    for cell in summary["frequency"]:
        k = _name_of_k(cell)
        text = f"{_with_interval(cell, 'correlation')}, {cell['tokens']} tokens"
        if "share" in cell:
            text += f"; {_with_interval(cell, 'share', 'share_')} of the KL"
        rows.setdefault(k, {"K": k})[cell["task"]] = text
    return list(rows.values())


def frequency_grid(summary: dict[str, Any], caption: str) -> Grid:
    """Lay out the same as page cells, with intervals, token counts and the tail's share as notes."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in summary["frequency"]:
        k = _name_of_k(cell)
        note = f"; {cell['tokens']} tokens"
        if "share" in cell:
            note += f"; {_with_interval(cell, 'share', 'share_')} of the KL"
        rows.setdefault(k, {"K": Cell(k)})[cell["task"]] = interval_cell(cell, "correlation", note=note)
    return Grid(caption, list(rows.values()))


def _name_of_k(cell: dict[str, Any]) -> str:
    k = "K=V" if cell["whole_vocabulary"] else f"K={cell['k']}"
    return f"beyond {k}" if cell.get("beyond") else k


def describe_gradients(summary: dict[str, Any]) -> str:
    """Compare the gradient variances of the two estimators in a sentence."""
    ratios = [line["ratio"] for line in summary["gradient_variance"] if isinstance(line["ratio"], float)]
    if not ratios:
        return "Noise of the gradients: not measured, because no prompt has two different rollouts."
    middle = median(ratios)
    return (
        f"Noise of the gradients: the reverse KL's gradient from whole completions is {middle:.3g} times as noisy as the one from each token and"
        f" those after it; both have the same mean (median ratio of variances between rollouts, {len(ratios)} prompts, first"
        f" {summary['gradient_tokens']} tokens)."
    )


def _with_interval(cell: dict[str, Any], key: str, bounds: str = "") -> str:
    value, low, high = (
        number if isinstance(number, str) else f"{number:.3g}"
        for number in (cell[key], cell[f"{bounds}low"], cell[f"{bounds}high"])
    )
    return f"{value} [{low}, {high}]"
