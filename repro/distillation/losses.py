"""The GKD losses as formulas on full logits: TRL computes the same in chunks for beta = 0 and beta = 1.

p_T is the teacher, p_S the student; B sequences, T completion positions, V vocabulary.
"""

from torch import Tensor

from repro.traps.token_kl import token_kl

TRL_BETA = {"gkd-fkl": 0.0, "gkd-rkl": 1.0}
"""The `beta` at which TRL's DistillationTrainer computes `forward_kl` (0) or `reverse_kl` (1)."""


def forward_kl(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor, tokens: int | None = None) -> Tensor:
    """GKD-FKL: sum_t KL(p_T||p_S)(s_t) / tokens, on the teacher's completions (Eq 2 with p = p_T, q = p_S).

    Args:
        student_logits, teacher_logits: [B, T, V]; position t scores completion token t.
        mask: [B, T] true for completion tokens.
        tokens: completion tokens of the whole step, so that the losses of its micro-batches add up to the step's; None
            if these B sequences are the step.

    Returns:
        Scalar, float64, nats per token; 0 if no token counts. Its gradient reaches the student only.
    """
    return _mean_over_tokens(token_kl(teacher_logits.detach(), student_logits, mask=mask), mask, tokens)


def reverse_kl(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor, tokens: int | None = None) -> Tensor:
    """GKD-RKL: sum_t KL(p_S||p_T)(s_t) / tokens, on the student's completions (Eq 2 with p = p_S, q = p_T).

    The gradient goes through p_S at each position, not through the sampling of the completions.

    Args:
        student_logits, teacher_logits, mask, tokens: as in `forward_kl`.

    Returns:
        Scalar, float64, nats per token; 0 if no token counts. Its gradient reaches the student only.
    """
    return _mean_over_tokens(token_kl(student_logits, teacher_logits.detach(), mask=mask), mask, tokens)


def _mean_over_tokens(kl_BT: Tensor, mask_BT: Tensor, tokens: int | None) -> Tensor:
    return kl_BT.sum() / (mask_BT.sum().clamp(min=1) if tokens is None else tokens)
