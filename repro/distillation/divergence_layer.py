"""A faster divergence for TRL on a CPU: computes logits only for the tokens that count, and only once.

The counterpart of `repro.models.output_layer` for divergences. TRL computes both models' logits in tiles 32,768 ids
wide, which is slow for a small vocabulary because the rows lie far apart in memory, and recomputes them in the backward
pass. Here the logits are kept, if both models' fit the budget, and turned into the gradient in place. Every operation
that rounds is the one TRL uses for these tokens, in TRL's order. GPUs, autocast, temperatures, softcapping, large
vocabularies and mixtures of the two KLs are left to TRL.

Shapes: N tokens, V vocabulary, H hidden size (may differ between the models).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import trl.trainer.distillation_trainer as trl_distillation
from trl.kernels.chunked_divergence import VOCAB_CHUNK_SIZE, ChunkedDivergenceFunction

from repro.models import output_layer


@contextlib.contextmanager
def keep_both_logits() -> Iterator[None]:
    """Route TRL's divergence through `_Divergence` within the context."""
    before = trl_distillation.ChunkedDivergenceFunction
    trl_distillation.ChunkedDivergenceFunction = _Divergence
    try:
        with output_layer.counted_tokens_alone(trl_distillation):
            yield
    finally:
        trl_distillation.ChunkedDivergenceFunction = before


class _Divergence:
    """Replaces TRL's `ChunkedDivergenceFunction`: `FullDivergence` where it applies, else TRL's."""

    @staticmethod
    def apply(
        student_hidden: torch.Tensor,
        student_weight: torch.Tensor,
        student_bias: torch.Tensor | None,
        teacher_hidden: torch.Tensor,
        teacher_weight: torch.Tensor,
        teacher_bias: torch.Tensor | None,
        beta: float,
        temperature: float,
        student_scale: float,
        student_softcap: float | None,
        teacher_scale: float,
        teacher_softcap: float | None,
    ) -> Any:
        N, V = len(student_hidden), len(student_weight)
        fits = V <= VOCAB_CHUNK_SIZE and 2 * N * V * 4 <= output_layer.BUDGET_BYTES
        plain = (
            beta in (0.0, 1.0)
            and temperature == student_scale == teacher_scale == 1.0
            and (student_bias, teacher_bias, student_softcap, teacher_softcap) == (None,) * 4
        )
        tensors = student_hidden, student_weight, teacher_hidden, teacher_weight
        if fits and plain and output_layer.is_float32_on_cpu(*tensors):
            return FullDivergence.apply(*tensors, beta)
        return ChunkedDivergenceFunction.apply(
            student_hidden,
            student_weight,
            student_bias,
            teacher_hidden,
            teacher_weight,
            teacher_bias,
            beta,
            temperature,
            student_scale,
            student_softcap,
            teacher_scale,
            teacher_softcap,
        )


class FullDivergence(torch.autograd.Function):
    """Compute KL(p_T||p_S) (beta 0) or KL(p_S||p_T) (beta 1) per token, and the student's entropy; nats, [N] each."""

    @staticmethod
    def forward(
        ctx: Any,
        student_hidden: torch.Tensor,
        student_weight: torch.Tensor,
        teacher_hidden: torch.Tensor,
        teacher_weight: torch.Tensor,
        beta: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.set_materialize_grads(False)
        student_NV = output_layer.project(student_hidden, student_weight)
        teacher_NV = output_layer.project(teacher_hidden, teacher_weight)
        gap_NV = teacher_NV - student_NV
        student_max_N, teacher_max_N = student_NV.amax(-1), teacher_NV.amax(-1)
        e_NV = (student_NV - student_max_N[:, None]).exp_()
        student_sum_N = e_NV.sum(-1)
        log_student_N = student_max_N + torch.log(student_sum_N)
        entropy_N = log_student_N - (e_NV * student_NV).sum(-1) / student_sum_N
        if beta == 1.0:
            weighted_gap_N = -gap_NV.mul_(e_NV).sum(-1)
        e_NV = torch.sub(teacher_NV, teacher_max_N[:, None], out=e_NV).exp_()
        teacher_sum_N = e_NV.sum(-1)
        log_teacher_N = teacher_max_N + torch.log(teacher_sum_N)
        if beta == 1.0:
            divergence_N = weighted_gap_N / student_sum_N - log_student_N + log_teacher_N
        else:
            divergence_N = gap_NV.mul_(e_NV).sum(-1) / teacher_sum_N - log_teacher_N + log_student_N
        ctx.beta = beta
        ctx.save_for_backward(
            student_hidden, student_weight, student_NV, teacher_NV, log_student_N, log_teacher_N, divergence_N
        )
        ctx.mark_non_differentiable(entropy_N)
        return divergence_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_N: torch.Tensor | None, _: None) -> tuple[torch.Tensor | None, ...]:
        if grad_N is None:
            return (None,) * 5
        hidden, weight, student_NV, teacher_NV, log_student_N, log_teacher_N, divergence_N = ctx.saved_tensors
        student_NV.sub_(log_student_N[:, None])  # in place: the logits are not needed again
        teacher_NV.sub_(log_teacher_N[:, None])
        if ctx.beta == 1.0:
            grad_NV = teacher_NV.sub_(student_NV).neg_().sub_(divergence_N[:, None]).mul_(student_NV.exp_())
        else:
            grad_NV = student_NV.exp_().sub_(teacher_NV.exp_())
        grad_NV.mul_(grad_N[:, None])
        return *output_layer.project_back(ctx, grad_NV, hidden, weight), None, None, None
