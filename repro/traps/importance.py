"""Off-policy reverse KL by importance weighting (Eq 3), with diagnostics of the estimate.

Completions are sampled from the teacher; the weight of a sequence is w = p_S(y|x) / p_T(y|x). All sums are
taken in log space and float64: log-weights of thousands of nats are ordinary here.
Shapes: n sequences.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from repro.traps.pareto import pareto_k

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ImportanceEstimate:
    """An importance-weighted cell of Table 1. A value beyond the float64 range is +inf (or -inf).

    Attributes:
        rkl: E_T[w log w], nats per sequence (Eq 3).
        k3: E_T[1 - w + w log w], the K3 form of the same cell.
        mean_weight: E_T[w] = 1 + rkl - k3; 1 for a healthy estimate.
        effective_sample_size: (sum w)^2 / sum w^2, between 1 and n; 0 where every weight is 0.
        max_weight_share: the largest weight's share of the sum, 1/n for equal weights; NaN where every weight is 0.
        pareto_k: tail shape of the weights; above 0.7 the estimate is unreliable (see `pareto_k`).
        log_mean_weight: log E_T[w], finite where mean_weight is not.
        self_normalised_rkl: sum w log w / sum w - log E_T[w]. The same estimand with self-normalised weights; biased,
            never negative, and at most log n: a value close to log n means that n is too small.
        samples: n.
    """

    rkl: float
    k3: float
    mean_weight: float
    effective_sample_size: float
    max_weight_share: float
    pareto_k: float
    log_mean_weight: float
    self_normalised_rkl: float
    samples: int


def importance_weighted_rkl(student_log_prob: Any, teacher_log_prob: Any) -> ImportanceEstimate:
    """Estimate reverse KL(p_S||p_T) from the teacher's samples (Eq 3).

    Args:
        student_log_prob: [n] log p_S(y|x), array or tensor, nats; -inf where the student rules the sequence out.
        teacher_log_prob: [n] log p_T(y|x) of the same sequences, sampled from the teacher.

    Raises:
        ValueError: no sequences, shapes that differ, NaN, or a teacher log-probability that is not finite.
    """
    log_w = log_weights(student_log_prob, teacher_log_prob)
    n = len(log_w)
    log_sum = float(logsumexp(log_w)) if np.isfinite(log_w).any() else -np.inf
    is_possible = np.isfinite(log_w)
    if log_sum == -np.inf:
        ess, share, self_normalised = 0.0, float("nan"), float("nan")
    else:
        ess = float(np.exp(2 * log_sum - logsumexp(2 * log_w)))
        share = float(np.exp(log_w.max() - log_sum))
        normalised = np.exp(log_w[is_possible] - log_sum)
        self_normalised = float(normalised @ (log_w[is_possible] - log_sum) + np.log(n))
    return ImportanceEstimate(
        rkl=weighted_mean(log_w, np.where(is_possible, log_w, 0.0)),
        k3=_mean_of_exp(log_k3(log_w), np.ones(n)),
        mean_weight=weighted_mean(log_w, np.ones(n)),
        effective_sample_size=ess,
        max_weight_share=share,
        pareto_k=pareto_k(log_w),
        log_mean_weight=log_sum - float(np.log(n)),
        self_normalised_rkl=self_normalised,
        samples=n,
    )


def log_weights(student_log_prob: Any, teacher_log_prob: Any) -> Array:
    """Return log w = log p_S(y|x) - log p_T(y|x), [n] float64, checked.

    Raises:
        ValueError: as `importance_weighted_rkl`.
    """
    student, teacher = _float64(student_log_prob), _float64(teacher_log_prob)
    if student.ndim != 1 or student.shape != teacher.shape or not len(student):
        raise ValueError(
            f"student {student.shape} and teacher {teacher.shape} log-probabilities must be of the same n >= 1 sequences"
        )
    if not np.isfinite(teacher).all():
        raise ValueError("teacher log-probabilities hold NaN or infinity: the teacher's own samples are possible")
    if np.isnan(student).any() or (student == np.inf).any():
        raise ValueError("student log-probabilities hold NaN or +inf")
    return student - teacher


def weighted_mean(log_w: Array, values: Any) -> float:
    """Compute E_T[w f], the mean of w times a signed value, in log space.

    With f = sum_t KL_t(p_S||p_T) this is the off-policy *token* RKL; with f = log w it is Eq 3.

    Args:
        log_w: [n] from `log_weights`. values: [n] finite.

    Raises:
        ValueError: a value that is not finite, or shapes that differ.
    """
    values = _float64(values)
    if values.shape != log_w.shape or not np.isfinite(values).all():
        raise ValueError("importance-weighted values must be finite, one for each weight")
    return _mean_of_exp(log_w, values)


def _mean_of_exp(log_a: Array, factor: Array) -> float:
    """Compute mean(exp(log_a) * factor), with the largest magnitude factored out until the end."""
    is_counted = np.isfinite(log_a) & (factor != 0)
    if not is_counted.any():
        return 0.0
    log_size = log_a[is_counted] + np.log(np.abs(factor[is_counted]))
    largest = log_size.max()
    total = float(np.sign(factor[is_counted]) @ np.exp(log_size - largest))
    if total == 0:
        return 0.0
    with np.errstate(over="ignore"):
        return float(np.sign(total) * np.exp(largest + np.log(abs(total) / len(log_a))))


def log_k3(log_w: Array) -> Array:
    """Compute log(1 - w + w log w), without cancellation near w = 1 or overflow far from it."""
    x = np.maximum(log_w, -800.0)  # also stands for w = 0: the smallest positive float64 is about exp(-745)
    y = -np.maximum(x, -30.0)
    # w (1/w - 1 - log 1/w); a series where the difference would cancel
    series = y * y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5)))
    excess = np.where(np.abs(y) < 1e-2, series, np.expm1(y) - y)
    with np.errstate(divide="ignore"):  # log 0 = -inf is right at w = 1
        return np.where(x < -30.0, np.log1p(np.exp(np.minimum(x, 0.0)) * (x - 1)), x + np.log(excess))


def _float64(x: Any) -> Array:
    if hasattr(x, "detach"):
        x = x.detach().cpu().double().numpy()
    return np.asarray(x, dtype=np.float64)
