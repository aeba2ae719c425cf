"""Inputs of a loss call, and the declared properties of a loss.

Shapes: B sequences, S tokens of prompt, completion and padding, T = S - 1 scored positions, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

IGNORED = -100
Reduction = Literal["token", "sequence", "sum"]
Feature = Literal[
    "beta", "forward", "reverse", "mask", "temperature", "num_items", "top_k", "tail", "chunk", "gradient", "logits"
]
FEATURES: dict[Feature, str] = {
    "beta": "a beta between 0 and 1",
    "forward": "the forward KL (beta = 0)",
    "reverse": "the reverse KL (beta = 1)",
    "mask": "a mask or labels",
    "temperature": "a temperature",
    "num_items": "the number of tokens of the whole step",
    "top_k": "a truncation to K tokens",
    "tail": "a tail bucket for the tokens outside the Top-K",
    "chunk": "a chunk size",
    "gradient": "a gradient",
    "logits": "logits as its input (it computes them from hidden states)",
}
JSD: frozenset[Feature] = frozenset({"beta", "forward", "reverse", "mask", "gradient"})
"""What GKD's generalised JSD has, computed from hidden states; `LOGITS` is the same from logits."""
LOGITS: frozenset[Feature] = JSD.union({"logits"})


@dataclass(frozen=True)
class LossCall:
    """One call of a distillation loss.

    Attributes:
        student_logits: [B, T, V]; position t scores `labels[:, t]`. Unshifted [B, S, V] for a loss that shifts itself.
        teacher_logits: [B, T, V'], V' = V unless the case is about widths that differ.
        labels: [B, T] token ids, -100 where a position does not count (prompt, padding, tool output).
        input_ids: [B, S] all tokens, prompts and padding included.
        attention_mask: [B, S] 0 for padding.
        beta: 0 is KL(teacher||student), 1 is KL(student||teacher), between them the generalised JSD of GKD
            (arXiv 2306.13649): beta KL(teacher||m) + (1 - beta) KL(student||m), m = beta teacher + (1 - beta) student.
        temperature: both models' logits are divided by it.
        num_items: counted tokens of the whole step; None if this batch is the step.
        top_k: tokens of the support; None for the whole vocabulary.
        add_tail: a last entry of the support holds the probability outside the Top-K.
        chunk_size: positions that are computed at a time; None for the loss's default.
    """

    student_logits: Tensor
    teacher_logits: Tensor
    labels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    beta: float = 0.0
    temperature: float = 1.0
    num_items: int | None = None
    top_k: int | None = None
    add_tail: bool = False
    chunk_size: int | None = None

    @property
    def mask(self) -> Tensor:
        """[B, T] true where a position counts."""
        return self.labels != IGNORED


@dataclass(frozen=True)
class Loss:
    """A distillation loss under test, and what it can do.

    Attributes:
        name: for messages and tables.
        function: computes the loss of a `LossCall`: a scalar, or unreduced values [B, T] or [B, T, V].
        features: what it supports; cases that need others do not apply.
        reduction: what a scalar is: the mean over tokens, the mean over sequences of their means, or the sum.
        shifts: the loss gets unshifted logits and labels, as a trainer's `compute_loss` does.
        temperature_squared: the loss multiplies by the squared temperature (Hinton et al., arXiv 1503.02531).
        top_k_of: whose probabilities decide the support: "beta" is the teacher's for beta = 0, the student's for 1.
    """

    name: str
    function: Callable[[LossCall], Tensor]
    features: frozenset[Feature]
    reduction: Reduction = "token"
    shifts: bool = False
    temperature_squared: bool = False
    top_k_of: Literal["beta", "student", "teacher"] = "beta"

    @property
    def betas(self) -> tuple[float, ...]:
        """The betas tried by cases without their own."""
        ends = [beta for beta, name in ((0.0, "forward"), (1.0, "reverse")) if name in self.features]
        return (*ends, 0.3) if "beta" in self.features else tuple(ends)

    def evaluate(self, call: LossCall) -> Tensor:
        """Return the loss of an unshifted call as a scalar, with its gradient attached.

        Unreduced values are summed over the vocabulary, then divided as `reduction` says.

        Raises:
            CaseError: what the loss returned is neither a scalar nor of the shape of its positions.
        """
        lowered = call if self.shifts else shift(call)
        value = self.function(lowered)
        if isinstance(value, tuple | list):
            value = value[0]
        if not isinstance(value, Tensor):
            raise CaseError(f"returned {type(value).__name__}, not a tensor")
        return self._reduced(value, lowered)

    def _reduced(self, value: Tensor, call: LossCall) -> Tensor:
        if value.ndim == 0:
            return value
        mask = call.mask
        if value.ndim in (2, 3) and value.shape[-1] == call.student_logits.shape[-1] and value.shape != mask.shape:
            value = value.sum(-1)
        if "mask" not in self.features and value.shape == (int(mask.sum()),):
            value = value.new_zeros(mask.shape).masked_scatter(mask, value)
        if value.shape != mask.shape:
            raise CaseError(f"returned a tensor of shape {tuple(value.shape)} for positions {tuple(mask.shape)}")
        if self.reduction == "sum":
            return value.sum()
        if self.reduction == "sequence":
            counts = mask.sum(-1)
            return (value.sum(-1) / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
        return value.sum() / (call.num_items or mask.sum().clamp(min=1))


class CaseError(AssertionError):
    """A case does not hold; the message says what came out and what is right."""


def shift(call: LossCall) -> LossCall:
    """Align logits and labels: position t then scores its own label, as language-model losses do after the shift."""
    return replace(
        call,
        student_logits=call.student_logits[:, :-1],
        teacher_logits=call.teacher_logits[:, :-1],
        labels=call.labels[:, 1:],
    )


def identity_head(logits: Tensor) -> Tensor:
    """Return the output layer [V, V] that makes logits of themselves, for a loss on hidden states."""
    return torch.eye(logits.shape[-1], dtype=logits.dtype)
