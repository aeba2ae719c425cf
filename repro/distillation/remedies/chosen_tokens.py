"""Losses that mask tokens: reverse KL on a prefix, on forks, or without wrong traces that the teacher prefers.

Masked tokens have weight 0; the sum is still divided by all completion tokens of the step.
"""

from typing import TYPE_CHECKING, ClassVar

import pydantic

from repro.distillation.loss import Completions, Input
from repro.distillation.remedies.full_vocabulary import ReverseKl

if TYPE_CHECKING:
    from torch import Tensor


class _ChosenTokens(ReverseKl):
    """Reverse KL with token weights, which TRL's kernel does not support."""

    @property
    def trl_beta(self) -> None:  # type: ignore[override]
        return None


class PrefixCut(_ChosenTokens):
    """w_t = 1 for the first ceil(share * length) tokens of a completion, else 0: the teacher errs late in a student's trace."""

    name: ClassVar[str] = "prefix-cut"
    formula: ClassVar[str] = "w_t KL(p_S||p_T), w_t = 1 for the first ceil(share * length) tokens, else 0"
    source: ClassVar[str] = "Prefix OPD arXiv 2602.15260; trap: teacher's errors on the student's prefixes"

    share: float = pydantic.Field(default=0.5, gt=0, le=1)

    def weights(self, completions: Completions) -> "Tensor":
        rank_BT = completions.mask.cumsum(-1)
        return rank_BT <= (self.share * rank_BT[:, -1:] - 1e-6).ceil()


class ForksOnly(_ChosenTokens):
    """w_t = 1 for the ceil(share * length) tokens of a completion at which the student is least certain (entropy), else 0.

    The share is taken per completion, so micro-batches do not matter; ties go to the earlier token.
    """

    name: ClassVar[str] = "forks-only"
    formula: ClassVar[str] = "w_t KL(p_S||p_T), w_t = 1 for the share of tokens with the highest H(p_S), else 0"
    source: ClassVar[str] = "TIP arXiv 2604.14084; forking tokens arXiv 2506.01939; trap: KL spent on certain tokens"

    share: float = pydantic.Field(default=0.2, gt=0, le=1)

    def weights(self, completions: Completions) -> "Tensor":
        mask = completions.mask
        entropy_BT = completions.student_entropy.masked_fill(~mask, -1.0)
        rank_BT = entropy_BT.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return mask & (rank_BT < (self.share * mask.sum(-1, keepdim=True) - 1e-6).ceil())


class WrongTraceGate(_ChosenTokens):
    """w = 0 for a completion that ends wrong although log p_T(y|x) > log p_S(y|x), else 1.

    The sequence loss log p_S - log p_T (Eq 1) of such a trace is negative: distillation would make it more likely.
    Ungraded completions have weight 1. Unlike the other losses, it reads the answer key.
    """

    name: ClassVar[str] = "wrong-trace-gate"
    formula: ClassVar[str] = "w KL(p_S||p_T), w = 0 if the completion y is wrong and log p_T(y) > log p_S(y), else 1"
    source: ClassVar[str] = "Distillation Traps and Guards arXiv 2604.18963, section 4; trap: wrong-trace preference"
    reads: ClassVar[tuple[Input, ...]] = ("rewards", "student_log_prob", "teacher_log_prob")

    def weights(self, completions: Completions) -> "Tensor":
        rewards, student, teacher = completions.rewards, completions.student_log_prob, completions.teacher_log_prob
        assert rewards is not None  # all three are in `reads`
        assert student is not None
        assert teacher is not None
        is_gated_B = (rewards == 0) & ((student - teacher).sum(-1) < 0)
        return completions.mask & ~is_gated_B[:, None]
