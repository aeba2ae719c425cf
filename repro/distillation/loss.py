"""The interface of distillation losses: a per-token divergence between student and teacher, and token weights.

A loss is a small class: `per_token` returns the divergence at each completion token, `weights` each token's weight. The
trainers (`loss_layer`) compute sum_t w_t d_t / (completion tokens of the optimiser step), so the losses of a step's
micro-batches add up, and take the gradient through `per_token` only: weights are constants. Imports no torch, because
recipes import this.

Shapes: N completion tokens of one forward pass, B sequences, T completion positions, V vocabulary.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pydantic

from repro.system.plugins import Plugin, Registry

if TYPE_CHECKING:
    from torch import Tensor

Input = Literal["reference", "rewards", "teacher_entropy", "student_log_prob", "teacher_log_prob"]
KEPT_COPIES = 8
"""float32 [N, V] tensors that a forward pass keeps for the backward pass. MEASURED on the CPU: at most 7.5 (jsd)."""
PEAK_COPIES = 13
"""float32 [N, V] tensors alive at the peak of the backward pass. MEASURED on the CPU: at most 12.5 (entropy-gated, if every
gate is open)."""
TILE_LOGITS = 2**25
"""Logits [tokens, vocabulary] of one model that a GPU computes at a time: 220 tokens of Qwen3's vocabulary. Their `PEAK_COPIES`
take 1.6 GiB."""


@dataclass(frozen=True, kw_only=True)
class TokenDistributions:
    """Next-token distributions at N completion tokens, as log-probabilities, nats.

    Attributes:
        student: [N, V] log p_S, with gradient.
        teacher: [N, V] log p_T.
        reference: [N, V] log-probabilities under the student before training; None unless the loss reads them.
        ids: [N] the realised tokens.
    """

    student: "Tensor"
    teacher: "Tensor"
    reference: "Tensor | None"
    ids: "Tensor"


@dataclass(frozen=True, kw_only=True)
class Completions:
    """The completions of one forward pass, with per-token values. Values outside the mask are 0.

    Attributes:
        mask: [B, T] true for completion tokens.
        ids: [B, T] realised tokens.
        student_entropy: [B, T] nats.
        teacher_entropy, student_log_prob, teacher_log_prob: [B, T] nats, the latter two of the realised tokens; None
            unless the loss reads them.
        rewards: [B] 1 for a right answer, 0 for a wrong one, NaN where ungraded; None unless the loss reads them.
    """

    mask: "Tensor"
    ids: "Tensor"
    student_entropy: "Tensor"
    teacher_entropy: "Tensor | None" = None
    student_log_prob: "Tensor | None" = None
    teacher_log_prob: "Tensor | None" = None
    rewards: "Tensor | None" = None


class Loss(Plugin):
    """Base of all distillation losses. Settings are fields."""

    reads: ClassVar[tuple[Input, ...]] = ()
    """Inputs beyond the two distributions. `reference` costs a forward pass of the reference model, the others little;
    `rewards` are available for the student's own completions only."""

    @property
    def trl_beta(self) -> float | None:
        """The `beta` of TRL's kernel that computes this loss; None if none does."""
        return None

    def per_token(self, tokens: TokenDistributions) -> "Tensor":
        """Return the divergence at each token, [N], nats, differentiable in `tokens.student`."""
        raise NotImplementedError

    def weights(self, completions: Completions) -> "Tensor | None":
        """Return the token weights, [B, T]; None for 1 everywhere. Must not depend on other sequences in the batch."""
        return None


LOSSES = Registry(
    noun="loss",
    group="repro.losses",
    base=Loss,
    built_in={
        "fkl": "repro.distillation.remedies.full_vocabulary:ForwardKl",
        "rkl": "repro.distillation.remedies.full_vocabulary:ReverseKl",
        "jsd": "repro.distillation.remedies.full_vocabulary:Jsd",
        "entropy-gated": "repro.distillation.remedies.full_vocabulary:EntropyGated",
        "reference-anchored": "repro.distillation.remedies.full_vocabulary:ReferenceAnchored",
        "top-k-tail": "repro.distillation.remedies.top_k:TopKTail",
        "top-k": "repro.distillation.remedies.top_k:TopKRenormalised",
        "prefix-cut": "repro.distillation.remedies.chosen_tokens:PrefixCut",
        "forks-only": "repro.distillation.remedies.chosen_tokens:ForksOnly",
        "wrong-trace-gate": "repro.distillation.remedies.chosen_tokens:WrongTraceGate",
    },
)
Divergence = Annotated[pydantic.SerializeAsAny[Loss] | None, pydantic.BeforeValidator(LOSSES.parse)]
"""A field that holds a loss: "jsd(beta=0.3)", the output of `model_dump`, an instance, or None."""
