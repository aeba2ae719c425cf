"""Measures and metrics in words, and a panel as grids of the page: on the student's completions, on the teacher's."""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.report.blocks import Cell, Grid

MEASURES = {
    "sequence_rkl": "reverse KL of complete completions",
    "token_rkl": "reverse KL over the vocabulary, per token",
    "token_fkl_on_policy": "forward KL over the vocabulary, per token",
    "entropy_student": "entropy of the student, per token",
    "entropy_teacher": "entropy of the teacher, per token",
    "fork_share": "share of the reverse KL at forking tokens",
    "fork_tokens": "share of the tokens that are forks",
    "top_k_rkl": "reverse KL over the student's Top-{k} alone",
    "mean_tokens": "length of a completion",
    "wrong_trace": "pairs in which the teacher prefers the wrong completion",
    "wrong_trace_per_prompt": "pairs in which the teacher prefers the wrong completion, all prompts with equal weight",
    "wrong_trace_length_only": "pairs in which the wrong completion is the shorter one",
    "wrong_trace_length_matched": "pairs of equal length in which the teacher prefers the wrong one",
    "unanswered_trace": "pairs in which the teacher prefers a completion without an answer",
    "unanswered_share": "completions without an answer, of those that are not correct",
    "sequence_fkl": "forward KL of complete completions",
    "token_fkl": "forward KL over the vocabulary, per token",
    "token_rkl_off_policy": "reverse KL over the vocabulary, per token, unweighted",
    "is_rkl": "reverse KL by importance weights",
    "is_k3": "reverse KL by importance weights, K3 estimator",
    "is_token_rkl": "token-level reverse KL by importance weights",
    "self_normalised_rkl": "reverse KL by weights that sum to 1",
    "mean_weight": "mean importance weight, 1 is due",
    "effective_sample_size": "effective sample size",
    "max_weight_share": "share of the largest weight",
    "token_rkl_outcome_correlation": "correlation of the changes of token-level reverse KL and of students' accuracy",
    "wrong_trace_outcome_correlation": "correlation of the changes of wrong-trace preference and of students' accuracy",
    "frequency_correlation": "rank correlation of a token's frequency and its contribution to the KL",
    "tail_share": "share of the reverse KL outside the student's Top-K",
    "pass_maj_gap": "pass@k less maj@k",
    "overconfidence": "share of the most frequent answer less maj@k",
    "solved": "prompts that the student solves by majority",
    "lost": "prompts solved before that the student lost",
    "prefix_correct": "continuations that end right",
    "loss_under_better_teacher": "accuracy that the student loses under a better teacher",
    "shortfall": "accuracy by which the better teacher's student falls behind the other's",
    "rechecking": "completions with a re-check phrase",
    "uncommitted": "completions cut before any answer",
    "repetition_recovery": "completions with a repeated span that still end with an answer",
    "hallucination": "overconfident hallucination, share of the completions of lost prompts",
    "self_correction": "self-correction collapse, share of the completions of lost prompts",
    "degradation": "local decoding degradation, share of the completions of lost prompts",
    "core_hours": "hours times processor cores",
    "gpu_hours": "hours times GPUs",
    "pareto_k": "Pareto-k of the weights: above 0.7 do not believe them",
}
"""Measure of a panel, or metric of a table -> what it is; {k} of "top_k_rkl@K" is filled in. A measure that is not here keeps its id."""
_UNITLESS = frozenset({"mean_weight", "pareto_k"})
_POLICIES = {"student": "student's completions (on-policy)", "teacher": "teacher's completions (off-policy)"}


def measure_in_words(measure: str) -> str:
    """Return what a measure of a panel is; its id if there are no words for it."""
    name, _, k = measure.partition("@")
    return MEASURES.get(name, measure).format(k=k)


def metric_in_words(metric: str) -> str:
    """Return a metric of a table with its id: "reverse KL over the vocabulary, per token (token_rkl)"."""
    description = measure_in_words(metric)
    return metric if description == metric else f"{description} ({metric})"


def panel_grids(panel: Sequence[Mapping[str, Any]], of: str = "") -> list[Grid]:
    """Lay out a panel: a grid per policy, a row per measure with id and unit below it, a column per task.

    Args:
        of: what it is of, for the captions.
    """
    tasks = list(dict.fromkeys(cell["task"] for cell in panel))
    grids = []
    for policy in dict.fromkeys(cell["policy"] for cell in panel):
        rows: dict[str, dict[str, Cell]] = {}
        for cell in (cell for cell in panel if cell["policy"] == policy):
            unit = "" if cell["measure"] in _UNITLESS or not cell["unit"] else f", {cell['unit']}"
            head = Cell(measure_in_words(cell["measure"]), f"{cell['measure']}{unit}")
            row = rows.setdefault(cell["measure"], {"measure": head, **{task: Cell("") for task in tasks}})
            row[cell["task"]] = interval_cell(cell)
        grids.append(Grid(f"On the {_POLICIES[policy]}{f': {of}' if of else ''}", list(rows.values())))
    return grids


def interval_cell(cell: Mapping[str, Any], key: str = "value", bounds: str = "", note: str = "") -> Cell:
    """Return a cell with a number, and below it its interval and a note."""
    value, low, high = (cell[name] for name in (key, f"{bounds}low", f"{bounds}high"))
    number = None if isinstance(value, str) else float(value)
    return Cell(_short(value), f"{_short(low)} to {_short(high)}{note}", value=number)


def _short(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.3g}"
