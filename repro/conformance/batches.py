"""Test batches: random logits over tiny vocabularies, with prompts, completions and padding laid out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from repro.conformance.calls import IGNORED, LossCall

V = 7
PROMPTS, COMPLETIONS = (2, 3, 1), (4, 1, 3)
END, PAD = 5, 6
"""End and padding token of the batches; a case may use one token for both."""


def make_call(
    prompts: Sequence[int] = PROMPTS,
    completions: Sequence[int] = COMPLETIONS,
    *,
    seed: int = 0,
    vocab: int = V,
    side: Literal["left", "right"] = "right",
    width: int | None = None,
    pad_id: int = PAD,
    scale: float = 2.0,
) -> LossCall:
    """Make an unshifted call: tokens of each sequence are prompt, completion, end token last; all else is random.

    Args:
        prompts, completions: lengths; a completion of 0 tokens counts nothing.
        side: where the padding goes. width: S; None is that of the longest sequence.
        scale: standard deviation of the logits.

    Returns:
        float64 logits [B, S, V]; those of padding are as random as all others.
    """
    generator = torch.Generator().manual_seed(seed)
    B = len(prompts)
    S = width or max((p + c for p, c in zip(prompts, completions, strict=True)), default=2)
    ids = torch.full((B, S), pad_id)
    labels = torch.full((B, S), IGNORED)
    attention = torch.zeros(B, S, dtype=torch.long)
    # A sequence's tokens and logits do not depend on the padding, so that layouts can be compared
    student, teacher = (scale * torch.randn(2, B, S, vocab, generator=generator, dtype=torch.float64)).unbind()
    for b, (p, c) in enumerate(zip(prompts, completions, strict=True)):
        sequence_generator = torch.Generator().manual_seed(1000 * (seed + 1) + b)
        start = S - p - c if side == "left" else 0
        ids[b, start : start + p + c] = torch.randint(0, END, (p + c,), generator=sequence_generator)
        if c:
            ids[b, start + p + c - 1] = END
            labels[b, start + p : start + p + c] = ids[b, start + p : start + p + c]
        attention[b, start : start + p + c] = 1
        both = scale * torch.randn(2, p + c, vocab, generator=sequence_generator, dtype=torch.float64)
        student[b, start : start + p + c], teacher[b, start : start + p + c] = both[0], both[1]
    return LossCall(student, teacher, labels, ids, attention)


def rows(call: LossCall, part: slice) -> LossCall:
    """Return the micro-batch of some sequences."""
    return replace(
        call,
        student_logits=call.student_logits[part],
        teacher_logits=call.teacher_logits[part],
        labels=call.labels[part],
        input_ids=call.input_ids[part],
        attention_mask=call.attention_mask[part],
    )


def cast(call: LossCall, dtype: torch.dtype) -> LossCall:
    """Return the call with logits of another type."""
    return replace(call, student_logits=call.student_logits.to(dtype), teacher_logits=call.teacher_logits.to(dtype))


def scored(call: LossCall) -> Tensor:
    """Return [B, S] true at the positions whose logits count."""
    mask = torch.zeros(call.labels.shape, dtype=torch.bool)
    mask[:, :-1] = call.labels[:, 1:] != IGNORED
    return mask


def with_gradient(call: LossCall) -> LossCall:
    """Return the call with student logits as a leaf of the autograd graph."""
    return replace(call, student_logits=call.student_logits.detach().clone().requires_grad_())
