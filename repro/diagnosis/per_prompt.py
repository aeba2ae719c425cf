"""Per-prompt values of every measure, and the weights with which a table averages them.

A measure that is a mean or a ratio of sums has one value per prompt. Any other (a standard deviation, an effective
sample size) has influence values (`repro.diagnosis.influence`), so that one bootstrap over prompts serves all measures.
Shapes: n rollouts, P prompts, C summed columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repro.diagnosis.columns import Array, Columns
from repro.diagnosis.influence import influence_values
from repro.diagnosis.weight_health import weight_health
from repro.traps.importance import log_weights
from repro.traps.preference import count_pairs_by_ending


@dataclass(frozen=True)
class PerPromptValues:
    """One measure of one policy and task: [P] values, and weights (ones for a plain mean)."""

    task: str
    metric: str
    items: tuple[str, ...]
    value_P: Array  # noqa: N815
    weight_P: Array  # noqa: N815

    @property
    def is_usable(self) -> bool:
        """True if every value is finite and some weight is not 0."""
        return bool(np.isfinite(self.value_P).all() and np.isfinite(self.weight_P).all() and self.weight_P.sum() > 0)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of a file."""
        for item, value, weight in zip(self.items, self.value_P, self.weight_P):
            yield {"task": self.task, "item": item, "metric": self.metric, "value": value, "weight": weight}


def per_prompt_values(columns: Columns, ks: tuple[int, ...]) -> list[PerPromptValues]:
    """Return every measure that is defined for the policy's completions.

    Args:
        ks: the J values of K of `partial_rkl`, the vocabulary size last; empty without a shared vocabulary.
    """
    measures = list(_on_policy(columns, ks) if columns.policy == "student" else _off_policy(columns))
    return [PerPromptValues(columns.task, metric, columns.items, value, weight) for metric, value, weight in measures]


Measure = tuple[str, Array, Array]


def _on_policy(c: Columns, ks: tuple[int, ...]) -> Iterator[Measure]:
    if c.has_shared_vocabulary:
        yield "token_rkl", *_ratio(c, c["rkl"], c["tokens"])
    yield "sequence_rkl", *_mean(c, c["student_log_prob"] - c["teacher_log_prob"])
    yield from _wrong_traces(c)
    yield "log_sd_sequence_rkl", *_influence(c, _log_sd, *_moments(c["student_log_prob"] - c["teacher_log_prob"]))
    if c.has_shared_vocabulary:
        yield "log_sd_token_rkl", *_influence(c, _log_sd, *_moments(c["rkl"]))
        yield "token_fkl_on_policy", *_ratio(c, c["fkl"], c["tokens"])
        yield "entropy_student", *_ratio(c, c["entropy_student"], c["tokens"])
        yield "fork_share", *_ratio(c, c["fork_rkl"], c["rkl"])
        for j, k in enumerate(ks[:-1]):
            yield f"top_k_rkl@{k}", *_ratio(c, c["partial_rkl"][:, j], c["tokens"])
    yield "mean_tokens", *_mean(c, c["tokens"])


def _off_policy(c: Columns) -> Iterator[Measure]:
    log_w = log_weights(c["student_log_prob"], c["teacher_log_prob"])
    yield "sequence_fkl", *_mean(c, -log_w)
    if c.has_shared_vocabulary:
        yield "token_fkl", *_ratio(c, c["fkl"], c["tokens"])
        yield "token_rkl_off_policy", *_ratio(c, c["rkl"], c["tokens"])
    possible = np.isfinite(log_w)
    finite = np.where(possible, log_w, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        w = np.exp(log_w)
        yield "is_rkl", *_mean(c, w * finite)
        yield "is_k3", *_mean(c, 1 - w + w * finite)
        if c.has_shared_vocabulary:
            yield "is_token_rkl", *_mean(c, w * c["rkl"])
        yield "mean_weight", *_mean(c, w)
    yield from weight_health(c, log_w)


def _wrong_traces(c: Columns) -> Iterator[Measure]:
    if c.correct is None or c.answered is None:
        return
    loss_n = c["student_log_prob"] - c["teacher_log_prob"]
    counts, unanswered = count_pairs_by_ending(loss_n, c.correct, c.answered, c.prompt_n, c["tokens"])
    yield "wrong_trace", _share(counts.wins, counts.pairs), counts.pairs
    yield "wrong_trace_per_prompt", _share(counts.wins, counts.pairs), (counts.pairs > 0).astype(np.float64)
    yield "wrong_trace_length_only", _share(counts.shorter, counts.pairs), counts.pairs
    yield "wrong_trace_length_matched", _share(counts.matched_wins, counts.matched_pairs), counts.matched_pairs
    yield "unanswered_trace", _share(unanswered.wins, unanswered.pairs), unanswered.pairs
    yield "unanswered_share", *_ratio(c, (~c.answered).astype(np.float64), (~c.correct).astype(np.float64))


def _ratio(c: Columns, above: Array, below: Array) -> tuple[Array, Array]:
    """Return sum / sum per prompt, weighted by the denominator, so that the weighted mean is the overall ratio."""
    top_P, bottom_P = c.per_prompt(above), c.per_prompt(below)
    return _share(top_P, bottom_P), np.maximum(bottom_P, 0.0)


def _share(top_P: Array, bottom_P: Array) -> Array:
    """Return the quotient per prompt, 0 where the denominator is 0."""
    return np.where(bottom_P > 0, top_P / np.where(bottom_P > 0, bottom_P, 1.0), 0.0)


def _mean(c: Columns, values: Array) -> tuple[Array, Array]:
    return _ratio(c, values, np.ones_like(values))


def _influence(c: Columns, statistic: Callable[[Array], Array], *columns: Array) -> tuple[Array, Array]:
    """Return influence values of a statistic of column sums [.., C]."""
    sums_PC = np.stack([c.per_prompt(column) for column in columns], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return influence_values(statistic(sums_PC.sum(0)), statistic(sums_PC.sum(0) - sums_PC)), np.ones(len(sums_PC))


def _moments(x: Array) -> tuple[Array, Array, Array]:
    x = x - x.mean()  # same spread, less rounding
    return np.ones_like(x), x, x * x


def _log_sd(sums: Array) -> Array:
    n, x, xx = sums[..., 0], sums[..., 1], sums[..., 2]
    return 0.5 * np.log(np.maximum((xx - x * x / n) / (n - 1), 0.0))


def write_per_prompt(path: Path, measures: list[PerPromptValues]) -> None:
    """Write a row per measure and prompt."""
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("item", pa.string()),
            ("metric", pa.string()),
            ("value", pa.float64()),
            ("weight", pa.float64()),
        ]
    )
    pq.write_table(pa.Table.from_pylist([row for measure in measures for row in measure.rows()], schema=schema), path)
