"""Gradients of reverse KL in the student's logits (Eq 5, appendix B), and how much they vary between rollouts.

Shapes: B sequences sampled from the student, T positions, V vocabulary. p_S student, p_T teacher.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from repro.traps.logits import check_same_vocabulary, log_probs, realised_log_probs
from repro.traps.token_kl import kl_terms


def sequence_kl_gradient(student_logits: Tensor, teacher_logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Eq 5: R * (1[v = y_t] - p_S(v|s_t)), one sample's estimate of the gradient of sequence RKL.

    R = sum_t log p_S(y_t|s_t) - log p_T(y_t|s_t) of the complete trajectory. The teacher's probability of an unrealised
    token does not appear: equal p_S gives an equal gradient, whatever p_T is.

    Args:
        student_logits, teacher_logits: [B, T, V], aligned with token_ids. token_ids: [B, T]. mask: [B, T].

    Returns:
        [B, T, V] float64, d/dz of each sequence's loss; 0 at masked positions.

    Raises:
        ValueError: NaN or +inf logits, an id outside the vocabulary, or shapes that do not fit.
    """
    logp, logq = _log_probs_of_both(student_logits, teacher_logits, mask)
    ratio_B = (realised_log_probs(logp, token_ids, mask) - realised_log_probs(logq, token_ids, mask)).sum(-1)
    keep = mask.bool()
    onehot = torch.nn.functional.one_hot(torch.where(keep, token_ids, 0).long(), logp.shape[-1])
    score = (onehot - logp.exp()) * keep[..., None]
    return ratio_B[:, None, None] * score


def token_kl_gradient(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor) -> Tensor:
    """Gradient of token RKL at fixed states: p_S(v|s_t) (log p_S(v|s_t) - log p_T(v|s_t) - KL_t).

    This is the gradient that on-policy distillation follows. Unlike Eq 5, it ignores how the student's choices change
    later states, so the two agree in expectation only at the last step, or with `future_kl_gradient` added.

    Args:
        student_logits, teacher_logits: [B, T, V]. mask: [B, T].

    Returns:
        [B, T, V] float64; 0 at masked positions.

    Raises:
        ValueError: as `sequence_kl_gradient`, or if only the teacher rules a token out.
    """
    logp, logq = _log_probs_of_both(student_logits, teacher_logits, mask)
    terms = kl_terms(logp, logq)
    kl = terms.sum(-1, keepdim=True)
    if not bool(torch.isfinite(kl).all()):
        raise ValueError("token RKL is infinite where the teacher rules out a token that the student allows")
    return (terms - logp.exp() * kl) * mask.bool()[..., None]


def future_kl_gradient(student_logits: Tensor, teacher_logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """The part that `token_kl_gradient` leaves out: (sum_{t' > t} KL_t') * (1[v = y_t] - p_S(v|s_t)), [B, T, V].

    The sum of the two is the Rao-Blackwellised gradient: in expectation over the student's samples it equals Eq 5.
    """
    logp, logq = _log_probs_of_both(student_logits, teacher_logits, mask)
    keep = mask.bool()
    kl_BT = kl_terms(logp, logq).sum(-1) * keep
    later_BT = kl_BT.sum(-1, keepdim=True) - kl_BT.cumsum(-1)
    onehot = torch.nn.functional.one_hot(torch.where(keep, token_ids, 0).long(), logp.shape[-1])
    return later_BT[..., None] * (onehot - logp.exp()) * keep[..., None]


@dataclass(frozen=True)
class GradientVariance:
    """Total variance over rollouts (trace of the covariance) of each estimator's gradient.

    Attributes:
        sequence: of Eq 5. token: of token RKL at fixed states. token_with_future: `token` plus `future_kl_gradient`.
        ratio: sequence / token_with_future, two estimators of the same gradient; +inf where the latter is 0.
        rollouts: B.
    """

    sequence: float
    token: float
    token_with_future: float
    ratio: float
    rollouts: int


def gradient_variance(
    student_logits: Tensor, teacher_logits: Tensor, token_ids: Tensor, mask: Tensor
) -> GradientVariance:
    """Compare the estimators on rollouts of one prompt.

    Logits at step t are not comparable between rollouts with different histories, so the gradient is taken with respect
    to the bias of the output layer, which all steps share: the sum over steps of the gradient in the logits.

    Args:
        student_logits, teacher_logits: [B, T, V] of B >= 2 rollouts of the student for one prompt.
        token_ids, mask: [B, T].

    Raises:
        ValueError: a single rollout, or as `token_kl_gradient`.
    """
    if len(token_ids) < 2:
        raise ValueError("a variance needs two or more rollouts of the prompt")
    token = token_kl_gradient(student_logits, teacher_logits, mask)
    future = future_kl_gradient(student_logits, teacher_logits, token_ids, mask)
    sequence = _total_variance(sequence_kl_gradient(student_logits, teacher_logits, token_ids, mask))
    with_future = _total_variance(token + future)
    return GradientVariance(
        sequence=sequence,
        token=_total_variance(token),
        token_with_future=with_future,
        ratio=sequence / with_future if with_future else float("inf") if sequence else float("nan"),
        rollouts=len(token_ids),
    )


def _total_variance(gradient_BTV: Tensor) -> float:
    return float(gradient_BTV.sum(1).var(0, correction=1).sum())


def _log_probs_of_both(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    check_same_vocabulary(student_logits, teacher_logits, None)
    return (
        log_probs(student_logits, mask=mask, name="student logits"),
        log_probs(teacher_logits, mask=mask, name="teacher logits"),
    )
