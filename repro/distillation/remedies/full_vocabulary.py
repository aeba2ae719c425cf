"""Losses over the entire vocabulary. p_S student, p_T teacher, p_0 the student before training; v tokens of the vocabulary."""

import math
from typing import TYPE_CHECKING, ClassVar

import pydantic

from repro.distillation.loss import Input, Loss, TokenDistributions

if TYPE_CHECKING:
    from torch import Tensor


def kl(logp: "Tensor", logq: "Tensor") -> "Tensor":
    """Return KL(p||q) = sum_v p (log p - log q) of each row, [N], nats; 0 for terms with p = 0.

    Args:
        logp, logq: [N, V] normalised log-probabilities.
    """
    from repro.traps.token_kl import kl_terms

    return kl_terms(logp, logq).sum(-1)


class ForwardKl(Loss):
    """KL(p_T||p_S) = sum_v p_T (log p_T - log p_S). Covers all that the teacher may say. Default of gkd-fkl."""

    name: ClassVar[str] = "fkl"
    formula: ClassVar[str] = "KL(p_T||p_S) = sum_v p_T (log p_T - log p_S)"
    source: ClassVar[str] = "Hinton et al. 2015 (arXiv 1503.02531); GKD arXiv 2306.13649"

    @property
    def trl_beta(self) -> float:
        return 0.0

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        return kl(tokens.teacher, tokens.student)


class ReverseKl(Loss):
    """KL(p_S||p_T) = sum_v p_S (log p_S - log p_T). Seeks a mode of the teacher. Default of gkd-rkl."""

    name: ClassVar[str] = "rkl"
    formula: ClassVar[str] = "KL(p_S||p_T) = sum_v p_S (log p_S - log p_T)"
    source: ClassVar[str] = "MiniLLM arXiv 2306.08543; GKD arXiv 2306.13649"

    @property
    def trl_beta(self) -> float:
        return 1.0

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        return kl(tokens.student, tokens.teacher)


class Jsd(Loss):
    """Generalised Jensen-Shannon divergence: beta KL(p_T||m) + (1 - beta) KL(p_S||m), m = beta p_T + (1 - beta) p_S.

    Bounded (by log 2 at beta = 1/2), so tokens that one side rules out cannot dominate. Divided by beta, it tends to
    KL(p_T||p_S) as beta goes to 0; divided by 1 - beta, it tends to KL(p_S||p_T) as beta goes to 1 (GKD, 2306.13649).
    """

    name: ClassVar[str] = "jsd"
    formula: ClassVar[str] = "beta KL(p_T||m) + (1-beta) KL(p_S||m), m = beta p_T + (1-beta) p_S"
    source: ClassVar[str] = "GKD arXiv 2306.13649"

    beta: float = pydantic.Field(default=0.5, gt=0, lt=1)

    @property
    def trl_beta(self) -> float:
        return self.beta

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        import torch

        student, teacher = tokens.student, tokens.teacher
        logm = torch.logaddexp(teacher + math.log(self.beta), student + math.log(1 - self.beta))
        return self.beta * kl(teacher, logm) + (1 - self.beta) * kl(student, logm)


class EntropyGated(Loss):
    """KL(p_S||p_T) + 1[H(p_T) > threshold] KL(p_T||p_S): covers the teacher's choices where it has several.

    Counters the loss of diversity under reverse KL. The threshold is in nats (ASSUMED: 0.7, about two equal choices).
    """

    name: ClassVar[str] = "entropy-gated"
    formula: ClassVar[str] = "KL(p_S||p_T) + 1[H(p_T) > threshold] KL(p_T||p_S)"
    source: ClassVar[str] = "Entropy-aware on-policy distillation arXiv 2603.07079; trap: diversity collapse"

    threshold: float = pydantic.Field(default=0.7, ge=0, allow_inf_nan=False)

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        import torch

        p_teacher = tokens.teacher.exp()
        entropy_N = -torch.where(p_teacher > 0, p_teacher * tokens.teacher, 0.0).sum(-1)
        reverse_N = kl(tokens.student, tokens.teacher)
        is_open_N = entropy_N > self.threshold
        forward_n = kl(tokens.teacher[is_open_N], tokens.student[is_open_N])
        return reverse_N.index_put((is_open_N,), forward_n, accumulate=True)


class ReferenceAnchored(Loss):
    """KL(p_S||p_T) + beta KL(p_S||p_0): an anchor to the student before training, against runaway length.

    The anchor of Stable-OPD; its mixture with reference rollouts is a choice of data, not part of the loss. Costs a
    forward pass of the reference model.
    """

    name: ClassVar[str] = "reference-anchored"
    formula: ClassVar[str] = "KL(p_S||p_T) + beta KL(p_S||p_0), p_0 the student before training"
    source: ClassVar[str] = "Stable-OPD arXiv 2604.08527; trap: length inflation"
    reads: ClassVar[tuple[Input, ...]] = ("reference",)

    beta: float = pydantic.Field(default=0.5, gt=0, allow_inf_nan=False)

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        assert tokens.reference is not None  # it is in `reads`
        return kl(tokens.student, tokens.teacher) + self.beta * kl(tokens.student, tokens.reference)
