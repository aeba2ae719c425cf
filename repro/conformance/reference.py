"""A loss that does what every case asks, as an example: on full logits, differentiable, in float32 or better.

`loss` is the sum of small functions that losses of yours may reuse.
Shapes: B sequences, T positions, V vocabulary, N positions that count, K tokens of the support.
"""

import math

import torch
from torch import Tensor

from repro.conformance.calls import IGNORED


def loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    beta: float = 0.0,
    temperature: float = 1.0,
    num_items: int | None = None,
    top_k: int | None = None,
    add_tail: bool = False,
    chunk_size: int | None = None,
) -> Tensor:
    """Compute the generalised JSD of GKD per token: forward KL at beta 0, reverse KL at beta 1.

    Args:
        student_logits: [B, T, V]. teacher_logits: [B, T, V'], cut to the common tokens.
        labels: [B, T] with -100 where a position does not count.
        num_items: tokens of the whole step; None if this batch is the step.
        top_k: tokens of the support, by the teacher for beta 0, by the student for beta 1; without a tail bucket the
            probabilities are normalised over the support.
        add_tail: adds the bucket of all other tokens.
        chunk_size: positions computed at a time.

    Returns:
        Scalar, nats per token; 0 if no token counts.
    """
    mask = labels != IGNORED
    V = min(student_logits.shape[-1], teacher_logits.shape[-1])
    student = log_probs(student_logits[mask][:, :V], temperature)
    teacher = log_probs(teacher_logits[mask][:, :V], temperature).detach()
    rows = chunk_size or max(1, len(student))
    parts = [
        divergence(*supports(logq, logp, beta, top_k, add_tail), beta).sum()
        for logq, logp in zip(student.split(rows), teacher.split(rows), strict=True)
    ]
    return torch.stack(parts).sum() / (num_items or mask.sum().clamp(min=1))


def log_probs(logits_NV: Tensor, temperature: float = 1.0) -> Tensor:
    """Return [N, V] log-probabilities, in float32 or better."""
    return (logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)) / temperature).log_softmax(-1)


def supports(logq: Tensor, logp: Tensor, beta: float, top_k: int | None, add_tail: bool) -> tuple[Tensor, Tensor]:
    """Return both models' log-probabilities over the Top-K (and the tail), or as they are."""
    if top_k is None:
        return logq, logp
    support = (logp if beta == 0 else logq).topk(min(top_k, logq.shape[-1]), dim=-1).indices
    return buckets(logq, support, add_tail), buckets(logp, support, add_tail)


def buckets(logs_NV: Tensor, support_NK: Tensor, add_tail: bool) -> Tensor:
    """Return [N, K] log-probabilities normalised over the support, or [N, K + 1] with that of all other tokens."""
    inside = logs_NV.gather(-1, support_NK)
    if not add_tail:
        return inside.log_softmax(-1)
    outside = torch.ones_like(logs_NV, dtype=torch.bool).scatter(-1, support_NK, False)
    return torch.cat([inside, logs_NV.masked_fill(~outside, -math.inf).logsumexp(-1, keepdim=True)], -1)


def divergence(logq: Tensor, logp: Tensor, beta: float) -> Tensor:
    """Return [..] nats between the student q and the teacher p: KL(p||q) at beta 0, KL(q||p) at 1, GKD's JSD between."""
    if beta == 0:
        return kl(logp, logq)
    if beta == 1:
        return kl(logq, logp)
    # Where both are -inf, logaddexp has no gradient
    impossible = (logp == -math.inf) & (logq == -math.inf)
    logp, logq = logp.masked_fill(impossible, 0.0), logq.masked_fill(impossible, 0.0)
    logm = torch.logaddexp(logp + math.log(beta), logq + math.log1p(-beta))
    logp, logq, logm = (x.masked_fill(impossible, -math.inf) for x in (logp, logq, logm))
    return beta * kl(logp, logm) + (1 - beta) * kl(logq, logm)


def kl(loga: Tensor, logb: Tensor) -> Tensor:
    """Return KL(a||b) over the last axis: a token that a rules out adds 0."""
    possible = loga > -math.inf
    # Both sides are replaced before the difference: -inf - -inf is NaN, in the gradient too
    gap = torch.where(possible, loga, 0.0) - torch.where(possible, logb, 0.0)
    return (torch.where(possible, loga, -math.inf).exp() * gap).sum(-1)
