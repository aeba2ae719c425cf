"""Token KL (Eq 2), its Top-K partial sums, and entropy: the clear reference, on full logits.

Shapes: V vocabulary, J values of K. KL(p||q) is an expectation over p: for reverse KL p is the student, for forward KL
the teacher. All values in nats.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from repro.traps.logits import check_same_vocabulary, log_probs

RankedBy = Literal["p", "q"]


def token_kl(
    p_logits: Tensor, q_logits: Tensor, *, vocab_size: int | None = None, mask: Tensor | None = None
) -> Tensor:
    """Compute KL(p||q) = sum_v p(v) (log p(v) - log q(v)) at each position (inner sum of Eq 2). Differentiable.

    Args:
        p_logits, q_logits: [.., V], any floating type; -inf marks an impossible id.
        vocab_size: ids from here on are padding and are masked in both.
        mask: [..] true where the position counts; masked positions give 0 and are not read.

    Returns:
        [..] float64, nats per position. +inf where q rules out what p allows.

    Raises:
        ValueError: NaN or +inf logits, a row without a finite logit, or vocabularies that differ.
    """
    check_same_vocabulary(p_logits, q_logits, vocab_size)
    logp = log_probs(p_logits, vocab_size=vocab_size, mask=mask, name="p logits")
    logq = log_probs(q_logits, vocab_size=vocab_size, mask=mask, name="q logits")
    return kl_terms(logp, logq).sum(-1)


def kl_terms(logp: Tensor, logq: Tensor) -> Tensor:
    """Compute p(v) (log p(v) - log q(v)) for every id: 0 where p(v) = 0, +inf where only q(v) = 0.

    Args:
        logp, logq: [.., V] normalised log-probabilities.

    Returns:
        [.., V] nats. A single term may be negative; the sum over the vocabulary is not.
    """
    p = logp.exp()
    is_possible = p > 0
    # Both sides are replaced before the subtraction: -inf - -inf would be NaN, in the gradient as well
    gap = torch.where(is_possible, logp, 0.0) - torch.where(is_possible, logq, 0.0)
    return torch.where(is_possible, p * gap, 0.0)


def top_k_partial_sums(
    p_logits: Tensor,
    q_logits: Tensor,
    ks: Sequence[int],
    *,
    ranked_by: RankedBy = "p",
    vocab_size: int | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Sum the KL(p||q) terms over the Top-K ids of each position, for several K in one pass.

    A partial sum is not a divergence: for K < |V| it can be negative. At K = |V| it is `token_kl`.

    Args:
        p_logits, q_logits: [.., V].
        ks: J values of K, each from 1 to the vocabulary's size, in any order.
        ranked_by: whose probabilities decide the Top-K; ties go to the lower id. See `VocabularyContributions`.
        vocab_size, mask: as in `token_kl`.

    Returns:
        [J, ..] float64, nats per position, in the order of `ks`.

    Raises:
        ValueError: as `token_kl`, or a K outside 1..|V|.
    """
    check_same_vocabulary(p_logits, q_logits, vocab_size)
    logp = log_probs(p_logits, vocab_size=vocab_size, mask=mask, name="p logits")
    logq = log_probs(q_logits, vocab_size=vocab_size, mask=mask, name="q logits")
    check_ks(ks, logp.shape[-1])
    order = ranking(logp if ranked_by == "p" else logq)
    sums = kl_terms(logp, logq).gather(-1, order).cumsum(-1)
    return torch.stack([sums[..., k - 1] for k in ks])


def ranking(logp: Tensor) -> Tensor:
    """Return [.., V] ids from the most to the least likely; ties by id, so that the Top-K is well defined."""
    return logp.argsort(dim=-1, descending=True, stable=True)


def check_ks(ks: Sequence[int], vocab_size: int) -> None:
    """Raise ValueError for an empty list of K, or a K outside 1..|V|."""
    invalid = [k for k in ks if not 1 <= k <= vocab_size]
    if invalid or not ks:
        raise ValueError(f"K must be in 1..{vocab_size} (the vocabulary): got {invalid or 'an empty list'}")


def entropy(logits: Tensor, *, vocab_size: int | None = None, mask: Tensor | None = None) -> Tensor:
    """Compute H(p) = -sum_v p(v) log p(v) at each position, float64, nats; masked positions give 0.

    Raises:
        ValueError: NaN or +inf logits, or a row without a finite logit.
    """
    logp = log_probs(logits, vocab_size=vocab_size, mask=mask)
    value = -kl_terms(logp, torch.zeros_like(logp)).sum(-1)
    return value if mask is None else torch.where(mask.bool(), value, 0.0)


def per_token(values_BT: Tensor, mask_BT: Tensor) -> float:
    """Average over all tokens, as Table 1 prints token KL; not a mean of per-sequence means.

    Raises:
        ValueError: no token counts.
    """
    keep = mask_BT.bool()
    tokens = int(keep.sum())
    if tokens == 0:
        raise ValueError("a mean over no tokens: every completion is empty or masked")
    return float(values_BT[keep].double().sum()) / tokens
