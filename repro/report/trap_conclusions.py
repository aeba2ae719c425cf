"""Conclusions from the panel of one pair of models: each trap is seen, not seen or not decided, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, isnan, log
from typing import Any, Literal

from repro.printed.load import load
from repro.report.text import capitalise
from repro.report.trap_thresholds import EFFECTIVE_SAMPLE, MEAN_WEIGHT, PARETO_K, TAIL_SHARE, WRONG_TRACE, Threshold

TrapVerdict = Literal["seen", "not seen", "not decided", "not measured"]
Cells = Mapping[str, Mapping[str, Any]]
"""Measure to its record in the panel (`repro.diagnosis.panel`)."""

SMALLEST_SAMPLE = 21
"""Completions below which no tail of weights is fitted (`repro.traps.pareto`)."""

_OPEN = {
    TAIL_SHARE: "share",
    MEAN_WEIGHT: "mean weight",
    PARETO_K: "pareto-k",
    EFFECTIVE_SAMPLE: "effective sample size",
    WRONG_TRACE: "rate",
}
"""Threshold to the words before its value where an interval includes it."""


@dataclass(frozen=True)
class TrapConclusion:
    """The conclusion on one trap and task.

    Attributes:
        verdict: "seen" if an interval lies beyond its threshold, "not seen" if all lie within, "not decided" otherwise.
        text: the numbers behind it, and what follows.
    """

    trap: str
    task: str
    verdict: TrapVerdict
    text: str


def conclude_traps(content: Mapping[str, Any]) -> list[TrapConclusion]:
    """Return a conclusion per trap and task.

    Args:
        content: summary of a diagnosis (`repro.diagnosis.diagnose`).
    """
    tasks = list(dict.fromkeys(row["task"] for row in content["panel"]))
    cells = {
        (policy, task): {
            row["measure"]: row for row in content["panel"] if (row["policy"], row["task"]) == (policy, task)
        }
        for policy in ("student", "teacher")
        for task in tasks
    }
    return [
        *(_tail_noise(content, task) for task in tasks),
        *(_off_policy(cells["teacher", task], task) for task in tasks),
        *(_gap(cells["student", task], task) for task in tasks),
    ]


def conclusion_lines(content: Mapping[str, Any]) -> list[str]:
    """Return a line per conclusion; the task is named where there are several."""
    conclusions = conclude_traps(content)
    several = len({conclusion.task for conclusion in conclusions}) > 1
    return [f"{c.trap}{f', {c.task}' if several else ''}: {c.verdict}. {c.text}" for c in conclusions]


def row_lines(diagnosed: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a sentence per trap and group of rows with the same verdicts on the same tasks; what was not measured is left out.

    Args:
        diagnosed: label and summary of each row's diagnosis.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for row, summary in diagnosed:
        tasks_by_verdict: dict[str, dict[TrapVerdict, list[str]]] = {}
        for c in conclude_traps(summary):
            tasks_by_verdict.setdefault(c.trap, {}).setdefault(c.verdict, []).append(c.task)
        for trap, tasks in tasks_by_verdict.items():
            texts = [f"{v} on {', '.join(tasks[v])}" for v in ("seen", "not decided", "not seen") if v in tasks]
            if texts:
                groups.setdefault((trap, "; ".join(texts)), []).append(row)
    order = {trap: n for n, trap in enumerate(dict.fromkeys(trap for trap, _ in groups))}
    return [
        f"{trap}, {', '.join(rows)}: {text}."
        for (trap, text), rows in sorted(groups.items(), key=lambda group: order[group[0][0]])
    ]


def decide(low: float, high: float, threshold: float) -> TrapVerdict:
    """Compare an interval with the threshold above which a trap is seen."""
    if low > threshold:
        return "seen"
    return "not seen" if high < threshold else "not decided"


def _tail_noise(content: Mapping[str, Any], task: str) -> TrapConclusion:
    trap, k = "Tail noise", content.get("tail_k")
    tail = next(
        (
            row
            for row in content["frequency"]
            if row["task"] == task and row.get("beyond") and row["k"] == k and "share" in row
        ),
        None,
    )
    if tail is None:
        why = "the models share no vocabulary" if content["left_out"] else f"no Top-{k} below the vocabulary's size"
        return TrapConclusion(trap, task, "not measured", f"{capitalise(why)}.")
    share, low, high = (_number(tail[key]) for key in ("share", "share_low", "share_high"))
    if not isfinite(share):
        why = f"The share of the reverse KL outside the student's Top-{k} is undefined: the KL is 0, or not finite."
        return TrapConclusion(trap, task, "not decided", why)
    verdict = decide(low, high, TAIL_SHARE.value)
    evidence = f"{share:.0%} [{low:.0%}, {high:.0%}] of the reverse KL lies outside the student's Top-{k}"
    text = {
        "seen": f"{evidence}, more than half. Truncate the loss: --set 'gkd_rkl.divergence=top-k-tail(k={k})' and others in"
        " docs/losses.md.",
        "not seen": f"{evidence}, less than half: likely candidates make up most of the signal.",
    }
    return TrapConclusion(trap, task, verdict, text.get(verdict) or _undecided(evidence, TAIL_SHARE))


def _off_policy(cells: Cells, task: str) -> TrapConclusion:
    trap = "Off-policy instability"
    names = ("pareto_k", "mean_weight", "effective_sample_size")
    if not cells.keys() >= set(names):
        return TrapConclusion(trap, task, "not measured", "No completions of the teacher were scored.")
    k, weight, size = (cells[name] for name in names)
    n = k["rollouts"]
    verdicts = {MEAN_WEIGHT: _error_verdict(weight)}
    if n >= SMALLEST_SAMPLE:
        verdicts[PARETO_K] = decide(_number(k["low"]), _number(k["high"]), PARETO_K.value)
        verdicts[EFFECTIVE_SAMPLE] = decide(-_number(size["high"]), -_number(size["low"]), -EFFECTIVE_SAMPLE.value)
    open_thresholds = [threshold for threshold, outcome in verdicts.items() if outcome == "not decided"]
    verdict: TrapVerdict = "not decided" if open_thresholds or n < SMALLEST_SAMPLE else "not seen"
    if "seen" in verdicts.values():
        verdict = "seen"
    tail = f"pareto-k {_interval(k)}" if n >= SMALLEST_SAMPLE else f"too few completions for pareto-k ({n})"
    evidence = (
        f"The mean importance weight is {_interval(weight)} and should be 1; {tail} (trusted up to {PARETO_K.value:g});"
        f" effective sample size {_interval(size)} of {n}"
    )
    text = {
        "seen": f"{evidence}. Importance-weighted estimates are unreliable. Train on the student's completions (GKD-RKL), or by"
        " a loss that needs no weights (SFT, GKD-FKL).",
        "not seen": f"{evidence}. Importance-weighted estimates are reliable here.",
    }
    undecided = _undecided(evidence, *open_thresholds)
    if n < SMALLEST_SAMPLE:
        undecided = f"{evidence}. Pareto-k needs {SMALLEST_SAMPLE} completions: more prompts (--items) would decide."
    return TrapConclusion(trap, task, verdict, text.get(verdict) or undecided)


def _error_verdict(weight: Mapping[str, Any]) -> TrapVerdict:
    """Decide whether the mean weight, ideally 1, is off by the threshold's factor in either direction."""
    bounds = [_number(weight[end]) for end in ("low", "high")]
    if any(map(isnan, bounds)):
        return "not decided"
    low, high = (log(bound) if bound > 0 else -float("inf") for bound in bounds)
    if low > MEAN_WEIGHT.value or high < -MEAN_WEIGHT.value:
        return "seen"
    return "not seen" if -MEAN_WEIGHT.value < low and high < MEAN_WEIGHT.value else "not decided"


def _gap(cells: Cells, task: str) -> TrapConclusion:
    trap = "Teacher-student gap"
    rate, kl = cells.get("wrong_trace"), _kl(cells)
    if rate is None or not isfinite(_number(rate["value"])):
        why = "the task has no answer key" if rate is None else "no prompt has a right and a wrong completion"
        return TrapConclusion(trap, task, "not measured", f"Wrong-trace preference: {why}.{kl}")
    value, low, high = (_number(rate[key]) for key in ("value", "low", "high"))
    verdict = decide(low, high, WRONG_TRACE.value)
    matched = cells.get("wrong_trace_length_matched", {"value": "nan"})["value"]
    of_equal_length = "" if isinstance(matched, str) else f" ({matched:.0%} among those of equal length)"
    evidence = (
        f"The teacher favours the wrong completion more than the student does in {value:.0%} [{low:.0%}, {high:.0%}] of the"
        f" pairs of a right and a wrong completion{of_equal_length}"
    )
    text = {
        "seen": f"{evidence}, worse than a coin. Calibrate the teacher towards the student (repro calibrate --eta 1), or keep"
        f" the loss off such completions (wrong-trace-gate in docs/losses.md).{kl}",
        "not seen": f"{evidence}: on average it points to the right answer.{kl}",
    }
    return TrapConclusion(trap, task, verdict, text.get(verdict) or f"{_undecided(evidence, WRONG_TRACE)}{kl}")


def _kl(cells: Cells) -> str:
    """Put the token KL in context with the paper's pairs: how far apart the models are."""
    if "token_rkl" not in cells:
        return ""
    printed = [cell.value for cell in load("table1").cells if cell.metric == "token_rkl"]
    return (
        f" Reverse KL: {_interval(cells['token_rkl'])} nats per token; the paper's pairs have {min(printed):g} to"
        f" {max(printed):g} (Table 1)."
    )


def _undecided(evidence: str, *thresholds: Threshold) -> str:
    bounds = " and ".join(
        f"{_OPEN[t]} {f'{1 / exp(t.value):g} to {exp(t.value):g}' if t is MEAN_WEIGHT else f'{t.value:g}'}"
        for t in thresholds
    )
    return f"{evidence}. Undecided, since intervals include thresholds: {bounds}. More prompts (--items) would decide."


def _interval(cell: Mapping[str, Any]) -> str:
    value, low, high = (f"{_number(cell[key]):.3g}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _number(value: float | str) -> float:
    """Return a number that JSON may store as text: "inf", "-inf", "nan"."""
    return float(value)
