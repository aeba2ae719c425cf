"""Sequence log-probabilities, sequence KL (Eq 1) and its K1, K2, K3 forms: realised tokens only.

Shapes: B sequences, T positions, V vocabulary. Completions are sampled from p; nats per sequence.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from repro.traps.logits import log_probs, realised_log_probs


def sequence_log_prob(logits: Tensor, token_ids: Tensor, mask: Tensor, *, vocab_size: int | None = None) -> Tensor:
    """Compute log p(y|x) = sum_t log p(y_t|s_t) over the realised tokens. Differentiable.

    Args:
        logits: [B, T, V]; logits[:, t] scores token_ids[:, t] (already aligned).
        token_ids: [B, T]; masked positions may hold anything.
        mask: [B, T] true at the tokens of the completion.
        vocab_size: ids from here on are padding and get no probability.

    Returns:
        [B] float64, nats; 0 for an empty completion, -inf where an impossible token was realised.

    Raises:
        ValueError: NaN or +inf logits at a position that counts, an id outside the vocabulary, or shapes that
            do not fit.
    """
    return realised_log_probs(log_probs(logits, vocab_size=vocab_size, mask=mask), token_ids, mask).sum(-1)


@dataclass(frozen=True)
class KForms:
    """Three estimators of KL(p||q) from samples of p, with r = q/p, one value per sample, nats.

    Attributes:
        k1: -log r = log p - log q. Unbiased; its mean over sequences is Eq 1; individual values may be negative.
        k2: (log r)^2 / 2. Biased, never negative.
        k3: r - 1 - log r. Unbiased where p covers q, never negative; +inf where r exceeds the float64 range.
    """

    k1: Tensor
    k2: Tensor
    k3: Tensor


def k_forms(p_log_prob: Tensor, q_log_prob: Tensor) -> KForms:
    """Compute K1, K2 and K3 of each sample (a token or a sequence).

    Args:
        p_log_prob: [..] log-probability under p, the sampling distribution, nats.
        q_log_prob: [..] log-probability of the same samples under q.

    Returns:
        KForms of [..] float64.

    Raises:
        ValueError: NaN, +inf, or a sample that p rules out.
    """
    logp, logq = p_log_prob.double(), q_log_prob.double()
    if not bool(torch.isfinite(logp).all()):
        raise ValueError("p log-probabilities hold NaN or infinity: a sample of p cannot be impossible under p")
    if bool((torch.isnan(logq) | (logq == torch.inf)).any()):
        raise ValueError("q log-probabilities hold NaN or +inf")
    log_r = logq - logp
    # expm1 keeps the small values: r - 1 - log r is of second order in log r
    k3 = torch.where(log_r == -torch.inf, torch.inf, torch.expm1(log_r) - log_r)
    return KForms(k1=-log_r, k2=log_r.square() / 2, k3=k3)


def sequence_kl(p_log_prob: Tensor, q_log_prob: Tensor) -> float:
    """Eq 1: the mean over sequences y ~ p of log p(y|x) - log q(y|x), nats per sequence.

    Args:
        p_log_prob, q_log_prob: [B] from `sequence_log_prob`; for reverse KL p is the student.

    Raises:
        ValueError: no sequence, or as `k_forms`.
    """
    if p_log_prob.numel() == 0:
        raise ValueError("a mean over no sequences")
    return float(k_forms(p_log_prob, q_log_prob).k1.mean())
