"""The panel: every measure of one policy and task, with intervals from the two-level bootstrap (prompts, rollouts)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from repro.diagnosis.columns import Array, Columns
from repro.traps import importance_weighted_rkl, two_level_bootstraps
from repro.traps.importance import log_weights, weighted_mean
from repro.traps.intervals import RowIndices
from repro.traps.preference import count_pairs_by_ending

LEVEL = 0.95
Measures = list[tuple[str, str]]
"""(name, unit) pairs."""
Statistic = Callable[[RowIndices, RowIndices], Sequence[float]]

_PAIRS: Measures = [
    ("wrong_trace", "fraction"),
    ("wrong_trace_per_prompt", "fraction"),
    ("wrong_trace_length_only", "fraction"),
    ("wrong_trace_length_matched", "fraction"),
    ("unanswered_trace", "fraction"),
    ("unanswered_share", "fraction of the traces that are not correct"),
]
_IMPORTANCE: Measures = [
    ("is_rkl", "nats/sequence"),
    ("is_k3", "nats/sequence"),
    ("mean_weight", "E[w], ideally 1"),
    ("effective_sample_size", "sequences"),
    ("max_weight_share", "fraction"),
    ("pareto_k", "above 0.7: unreliable"),
    ("self_normalised_rkl", "nats/sequence"),
]


def panel(columns: Columns, ks: tuple[int, ...], *, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Return a record per measure: policy, task, measure, unit, value, interval, and sample sizes.

    Numbers that JSON cannot represent are strings: "inf", "-inf", "nan".

    Args:
        ks: as in `per_prompt_values`.
        resamples, seed: settings of the bootstrap.
    """
    parts = [_sums(columns, ks), _wrong_traces(columns) if columns.policy == "student" else _importance(columns)]
    available = [part for part in parts if part is not None]
    measures = [measure for names, _ in available for measure in names]

    def statistics(rows: RowIndices, labels: RowIndices) -> list[float]:
        return [value for _, statistic in available for value in statistic(rows, labels)]

    intervals = two_level_bootstraps(columns.prompt_n.tolist(), statistics, resamples=resamples, level=LEVEL, seed=seed)
    return [
        {
            "policy": columns.policy,
            "task": columns.task,
            "measure": name,
            "unit": unit,
            "value": plain(interval.value),
            "low": plain(interval.low),
            "high": plain(interval.high),
            "se": plain(interval.se),
            "defined": interval.defined,
            "prompts": interval.prompts,
            "rollouts": interval.rollouts,
        }
        for (name, unit), interval in zip(measures, intervals)
    ]


def plain(value: float) -> float | str:
    """Return a finite number unchanged, others as a string, since JSON cannot represent them."""
    return float(value) if math.isfinite(value) else str(float(value))


def _sums(c: Columns, ks: tuple[int, ...]) -> tuple[Measures, Statistic]:
    """Return all ratios of sums over rollouts at once, computed as rollout counts times columns."""
    ones = np.ones(len(c.prompt_n))
    gap = c["student_log_prob"] - c["teacher_log_prob"]
    per_token, per_sequence = "nats/token", "nats/sequence"
    ratios: list[tuple[str, str, Array, Array]] = []
    if c.policy == "student":
        ratios.append(("sequence_rkl", per_sequence, gap, ones))
        if c.has_shared_vocabulary:
            ratios += [
                ("token_rkl", per_token, c["rkl"], c["tokens"]),
                ("token_fkl_on_policy", per_token, c["fkl"], c["tokens"]),
                ("entropy_student", per_token, c["entropy_student"], c["tokens"]),
                ("entropy_teacher", per_token, c["entropy_teacher"], c["tokens"]),
                ("fork_share", "fraction of the RKL", c["fork_rkl"], c["rkl"]),
                ("fork_tokens", "fraction of the tokens", c["fork_tokens"], c["tokens"]),
            ]
            ratios += [
                (f"top_k_rkl@{k}", f"{per_token}, partial sum", c["partial_rkl"][:, j], c["tokens"])
                for j, k in enumerate(ks[:-1])
            ]
    else:
        ratios.append(("sequence_fkl", per_sequence, -gap, ones))
        if c.has_shared_vocabulary:
            ratios += [
                ("token_fkl", per_token, c["fkl"], c["tokens"]),
                ("token_rkl_off_policy", f"{per_token}, unweighted", c["rkl"], c["tokens"]),
            ]
    ratios.append(("mean_tokens", "tokens", c["tokens"], ones))
    top_nM = np.nan_to_num(np.stack([ratio[2] for ratio in ratios], axis=1), neginf=-np.inf, posinf=np.inf)
    bottom_nM = np.stack([ratio[3] for ratio in ratios], axis=1)

    def statistic(rows: RowIndices, _: RowIndices) -> list[float]:
        count_n = np.bincount(rows, minlength=len(ones)).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return list((count_n @ top_nM) / (count_n @ bottom_nM))

    return [(name, unit) for name, unit, _, _ in ratios], statistic


def _wrong_traces(c: Columns) -> tuple[Measures, Statistic] | None:
    correct, answered = c.correct, c.answered
    if correct is None or answered is None:
        return None
    loss_n, length_n = c["student_log_prob"] - c["teacher_log_prob"], c["tokens"]

    def statistic(rows: RowIndices, labels: RowIndices) -> list[float]:
        pairs = count_pairs_by_ending(loss_n[rows], correct[rows], answered[rows], labels, length_n[rows])
        rate, unanswered = pairs[0].rate(), pairs[1].rate()
        wrong = (~correct[rows]).sum()
        share = float((~answered[rows]).sum() / wrong) if wrong else float("nan")
        return [rate.pooled, rate.per_prompt, rate.length_only, rate.length_matched, unanswered.pooled, share]

    return _PAIRS, statistic


def _importance(c: Columns) -> tuple[Measures, Statistic]:
    student_n, teacher_n = c["student_log_prob"], c["teacher_log_prob"]
    names = list(_IMPORTANCE)
    token_level = c.has_shared_vocabulary
    if token_level:
        names.append(("is_token_rkl", "nats/sequence"))

    def statistic(rows: RowIndices, _: RowIndices) -> list[float]:
        estimate = importance_weighted_rkl(student_n[rows], teacher_n[rows])
        values = [getattr(estimate, name.removeprefix("is_")) for name, _ in _IMPORTANCE]
        if token_level:
            values.append(weighted_mean(log_weights(student_n[rows], teacher_n[rows]), c["rkl"][rows]))
        return values

    return names, statistic
