"""Losses over the teacher's Top-K tokens: the noisy tail is left out, or lumped into a single token.

p_S student, p_T teacher; K the teacher's K most likely tokens at a position.
"""

from typing import TYPE_CHECKING, ClassVar

import pydantic

from repro.distillation.loss import Loss, TokenDistributions
from repro.distillation.remedies.full_vocabulary import kl

if TYPE_CHECKING:
    from torch import Tensor


class TopKTail(Loss):
    """sum_K p_S log(p_S/p_T) + P_S log(P_S/P_T), where P = 1 - sum_K p is the tail's mass: KL(p_S||p_T) of K + 1 tokens.

    Never negative, at most KL(p_S||p_T), and equal to it for K = V - 1 and above; a partial sum without the tail term
    has neither bound. Tail masses are summed over the vocabulary, since 1 minus a sum would round to 0.
    """

    name: ClassVar[str] = "top-k-tail"
    formula: ClassVar[str] = "sum_K p_S log(p_S/p_T) + P_S log(P_S/P_T), P = 1 - sum_K p, K the teacher's top k"
    source: ClassVar[str] = "verl#7855; trap: tail noise"

    k: int = pydantic.Field(default=16, gt=0)

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        import torch

        k = min(self.k, tokens.teacher.shape[-1])
        top_teacher_NK, ids_NK = tokens.teacher.topk(k, dim=-1)
        if k == tokens.teacher.shape[-1]:
            return kl(tokens.student.gather(-1, ids_NK), top_teacher_NK)
        student, teacher = tokens.student, tokens.teacher
        parts = [(student.gather(-1, ids_NK), student), (top_teacher_NK, teacher)]
        folded = [
            torch.cat([top, full.scatter(-1, ids_NK, -torch.inf).logsumexp(-1, keepdim=True)], -1)
            for top, full in parts
        ]
        return kl(*folded)


class TopKRenormalised(Loss):
    """sum_K s log(s/t), where s and t are p_S and p_T renormalised on the teacher's top K.

    Ignores the tail, including its mass: a student pays nothing for leaving the top K.
    """

    name: ClassVar[str] = "top-k"
    formula: ClassVar[str] = "sum_K s log(s/t), s = p_S / sum_K p_S, t = p_T / sum_K p_T, K the teacher's top k"
    source: ClassVar[str] = "Revisiting OPD arXiv 2603.25562; trap: tail noise"

    k: int = pydantic.Field(default=16, gt=1)

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        top_teacher_NK, ids_NK = tokens.teacher.topk(min(self.k, tokens.teacher.shape[-1]), dim=-1)
        return kl(tokens.student.gather(-1, ids_NK).log_softmax(-1), top_teacher_NK.log_softmax(-1))
