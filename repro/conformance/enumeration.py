"""The oracle: divergences and their gradients as sums over the vocabulary, in plain Python floats.

Nothing here uses torch's arithmetic: tensors are read as float64 numbers, sums are `math.fsum`. p is the teacher, q the
student, m = beta p + (1 - beta) q; all values in nats. A logit of -inf is an impossible token, whose term is 0 wherever
the distribution that the sum is taken over has no mass on it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from repro.conformance.calls import IGNORED, LossCall, Reduction

Row = Sequence[float]


def log_probabilities(logits: Row, temperature: float = 1.0) -> list[float]:
    """Return log softmax(logits / temperature), exact where a probability underflows."""
    scaled = [x / temperature for x in logits]
    top = max(scaled)
    log_total = top + math.log(math.fsum(math.exp(x - top) for x in scaled))
    return [x - log_total for x in scaled]


def kl(log_p: Row, log_q: Row) -> float:
    """Return KL(p||q) in nats; +inf where q rules out what p allows."""
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True) if a > -math.inf)


def log_mixture(log_p: Row, log_q: Row, beta: float) -> list[float]:
    """Return log(beta p + (1 - beta) q)."""
    mixed = []
    for a, b in zip(log_p, log_q, strict=True):
        x, y = math.log(beta) + a, math.log1p(-beta) + b
        top = max(x, y)
        mixed.append(top if top == -math.inf else top + math.log(math.exp(x - top) + math.exp(y - top)))
    return mixed


def divergence(log_p: Row, log_q: Row, beta: float) -> float:
    """Return the generalised JSD of GKD between the teacher p and the student q; KL(p||q) at 0, KL(q||p) at 1."""
    if beta == 0:
        return kl(log_p, log_q)
    if beta == 1:
        return kl(log_q, log_p)
    log_m = log_mixture(log_p, log_q, beta)
    return beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)


def gradient(log_p: Row, log_q: Row, beta: float, temperature: float = 1.0) -> list[float]:
    """Return the derivative of `divergence` with respect to the student's logits.

    Forward KL: (q - p) / T. Reverse KL: q (log q - log p - KL) / T. Between them, with f = log q - log m:
    (1 - beta) q (f - sum_v q f) / T, since the terms through m add up to nothing (m is where p and q mix linearly).
    """
    if beta == 0:
        return [(math.exp(b) - math.exp(a)) / temperature for a, b in zip(log_p, log_q, strict=True)]
    weight = 1.0 if beta == 1 else 1 - beta
    log_r = log_p if beta == 1 else log_mixture(log_p, log_q, beta)
    mean = kl(log_q, log_r)
    return [
        0.0 if b == -math.inf else weight * math.exp(b) * (b - r - mean) / temperature
        for b, r in zip(log_q, log_r, strict=True)
    ]


def with_tail(log_p: Row, support: Sequence[int]) -> list[float]:
    """Return the log-probabilities of a support, and of everything outside it as a last entry."""
    outside = math.fsum(math.exp(x) for v, x in enumerate(log_p) if v not in support)
    return [*(log_p[v] for v in support), math.log(outside) if outside > 0 else -math.inf]


def expected_loss(call: LossCall, reduction: Reduction = "token") -> float:
    """Enumerate the loss of an unshifted call: logits [B, S, V], labels [B, S]. 0 where no token counts."""
    rows = [
        [divergence(*_log_pair(call, b, t), call.beta) for t in positions] for b, positions in enumerate(counted(call))
    ]
    return sum(
        weight * math.fsum(values) for weight, values in zip(row_weights(call, reduction), rows, strict=True) if values
    )


def expected_gradient(call: LossCall, reduction: Reduction = "token") -> Tensor:
    """Enumerate the gradient of the loss of an unshifted call: [B, S, V] float64, 0 where a position does not count."""
    result = torch.zeros(call.student_logits.shape, dtype=torch.float64)
    weights = row_weights(call, reduction)
    for b, positions in enumerate(counted(call)):
        for t in positions:
            row = gradient(*_log_pair(call, b, t), call.beta, call.temperature)
            result[b, t] = torch.tensor([weights[b] * x for x in row], dtype=torch.float64)
    return result


def bucketed_loss(call: LossCall, by_teacher: bool, reduction: Reduction = "token") -> float:
    """Enumerate the divergence over the Top-K and a tail bucket.

    Args:
        call: unshifted, with `top_k`; beta 0 or 1.
        by_teacher: the teacher's probabilities decide the support; else the student's.
    """
    weights, total = row_weights(call, reduction), 0.0
    for b, positions in enumerate(counted(call)):
        for t in positions:
            log_p, log_q = _log_pair(call, b, t)
            support = _support(log_p if by_teacher else log_q, call.top_k)
            total += weights[b] * divergence(with_tail(log_p, support), with_tail(log_q, support), call.beta)
    return total


def bucketed_gradient(call: LossCall, by_teacher: bool, reduction: Reduction = "token") -> Tensor:
    """Enumerate the gradient of `bucketed_loss`: that of the buckets' divergence, shared in a bucket as q is."""
    result = torch.zeros(call.student_logits.shape, dtype=torch.float64)
    weights = row_weights(call, reduction)
    for b, positions in enumerate(counted(call)):
        for t in positions:
            log_p, log_q = _log_pair(call, b, t)
            support = _support(log_p if by_teacher else log_q, call.top_k)
            buckets = with_tail(log_q, support)
            slopes = gradient(with_tail(log_p, support), buckets, call.beta)
            for v, x in enumerate(log_q):
                bucket = support.index(v) if v in support else len(support)
                result[b, t, v] = weights[b] * slopes[bucket] * math.exp(x - buckets[bucket])
    return result


def _support(log_p: Row, k: int | None) -> list[int]:
    return sorted(range(len(log_p)), key=lambda v: -log_p[v])[:k]


def counted(call: LossCall) -> list[list[int]]:
    """Return for each sequence the positions whose logits score a label that counts: one before the label."""
    return [[t for t, label in enumerate(row[1:]) if label != IGNORED] for row in call.labels.tolist()]


def row_weights(call: LossCall, reduction: Reduction) -> list[float]:
    """Return the factor of each sequence's sum in the loss."""
    lengths = [len(positions) for positions in counted(call)]
    if reduction == "sum":
        return [1.0] * len(lengths)
    if reduction == "sequence":
        sequences = sum(length > 0 for length in lengths)
        return [1 / (length * sequences) if length else 0.0 for length in lengths]
    tokens = call.num_items or sum(lengths)
    return [1 / tokens if tokens else 0.0] * len(lengths)


def _log_pair(call: LossCall, b: int, t: int) -> tuple[list[float], list[float]]:
    teacher, student = (x[b, t].double().tolist() for x in (call.teacher_logits.detach(), call.student_logits.detach()))
    return log_probabilities(teacher, call.temperature), log_probabilities(student, call.temperature)
