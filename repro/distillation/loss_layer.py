"""Compute a `Loss` from hidden states and output layers, in place of TRL's divergence kernel.

Only a few tokens' logits are in memory at a time (`TILE_LOGITS`). As in TRL, they are recomputed in the backward pass;
on a CPU they are kept if they fit the budget. It hooks in where TRL calls its kernel, so masks,
reduction, sharding and precision are TRL's.

Shapes: N completion tokens, B sequences, T positions, V vocabulary, H hidden size of each model.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import trl.trainer.distillation_trainer as trl_distillation
from torch import Tensor

from repro.distillation.divergence_layer import _Divergence
from repro.distillation.loss import KEPT_COPIES, TILE_LOGITS, Completions, Loss, TokenDistributions
from repro.models import output_layer


@dataclass(frozen=True)
class Head:
    """Last hidden states [N, H] and the output layer [V, H] that maps them to logits."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def rows(self, tokens: Any) -> "Head":
        """Return the head restricted to some of the tokens."""
        return Head(self.hidden[tokens], self.weight, self.bias, self.scale, self.softcap)

    def dtype(self, autocast: torch.dtype | None) -> torch.dtype:
        """Return the matmul precision: autocast's if it is on, else that of the hidden states."""
        return autocast or self.hidden.dtype

    def products(self, autocast: torch.dtype | None) -> Tensor:
        """Return hidden times weight, [N, V], in float32 or above, multiplied in the precision of TRL's kernel."""
        dtype = self.dtype(autocast)
        hidden, weight = self.hidden.to(dtype), self.weight.to(dtype).t()
        if hidden.is_cuda and dtype in (torch.float16, torch.bfloat16):
            product = torch.mm(hidden, weight, out_dtype=torch.float32)
        else:
            wide = torch.promote_types(dtype, torch.float32)
            product = torch.mm(hidden.to(wide), weight.to(wide))
        return product if self.bias is None else product.add_(self.bias)

    def log_probs(self, products: Tensor) -> Tensor:
        """Return the log-probabilities, [N, V]."""
        z = products if self.scale == 1.0 else products * self.scale
        if self.softcap is not None:
            z = self.softcap * torch.tanh(z / self.softcap)
        return z.log_softmax(-1)


@dataclass(frozen=True)
class Step:
    """Inputs of the loss in one forward pass, besides the two models.

    Attributes:
        mask: [B, T] 1 for completion tokens. ids: [B, T]. rewards: [B].
        reference: the student before training, with hidden states at all B x T positions, and the student's scale and
            softcap.
    """

    loss: Loss
    mask: Tensor
    ids: Tensor
    rewards: Tensor | None
    reference: Head | None


@contextlib.contextmanager
def compute_with(step: Step) -> Iterator[None]:
    """Route TRL's divergence through the loss of `step` for one forward pass."""
    before = trl_distillation.ChunkedDivergenceFunction
    trl_distillation.ChunkedDivergenceFunction = _Routed(step)
    try:
        with output_layer.counted_tokens_alone(trl_distillation):
            yield
    finally:
        trl_distillation.ChunkedDivergenceFunction = before


class _Routed:
    """Accepts the arguments of TRL's `ChunkedDivergenceFunction.apply`; returns weighted divergence and entropy.

    Both are [n], one value per completion token, like the hidden states.
    """

    def __init__(self, step: Step) -> None:
        self.step = step

    def apply(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        student_hidden, student_weight, student_bias, teacher_hidden, teacher_weight, teacher_bias = arguments[:6]
        _, _, student_scale, student_softcap, teacher_scale, teacher_softcap = arguments[6:]
        beta = self.step.loss.trl_beta
        if beta is not None and (beta in (0.0, 1.0) or student_hidden.is_cuda):  # a mixture is slow in torch's tiles
            routed = [*arguments[:6], beta, *arguments[7:]]
            return _Divergence.apply(*routed)
        student = Head(student_hidden, student_weight, student_bias, student_scale, student_softcap)
        teacher = Head(teacher_hidden, teacher_weight, teacher_bias, teacher_scale, teacher_softcap)
        step = self.step
        if step.reference is not None:
            step = replace(step, reference=replace(step.reference, scale=student_scale, softcap=student_softcap))
        return weighted_divergence(step, student, teacher)


def weighted_divergence(step: Step, student: Head, teacher: Head) -> tuple[Tensor, Tensor]:
    """Return w d and the student's entropy at the completion tokens, [n] each, nats, in the order of the mask.

    Args:
        student, teacher: heads at the n completion tokens. The gradient reaches the student's hidden states, weight and
            bias.
    """
    is_token_BT = step.mask.bool()
    reference = step.reference.rows(is_token_BT.reshape(-1)) if step.reference is not None else None
    device_type = student.hidden.device.type
    autocast = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
    frozen = _Frozen(step.loss, teacher, reference, step.ids[is_token_BT], student.scale, student.softcap, autocast)
    with torch.autocast(device_type, enabled=False):
        divergence_n, columns_nC = _Layer.apply(student.hidden, student.weight, student.bias, frozen)
    numbers = {name: _spread(column, is_token_BT) for name, column in zip(frozen.columns, columns_nC.unbind(-1))}
    weights_BT = step.loss.weights(Completions(mask=is_token_BT, ids=step.ids, rewards=step.rewards, **numbers))
    entropy_n = columns_nC[:, 0]
    if weights_BT is None:
        return divergence_n, entropy_n
    return divergence_n * weights_BT.detach()[is_token_BT].to(divergence_n.dtype), entropy_n


def _spread(values_n: Tensor, is_token_BT: Tensor) -> Tensor:
    zeros_BT = torch.zeros(is_token_BT.shape, dtype=values_n.dtype, device=values_n.device)
    return zeros_BT.masked_scatter(is_token_BT, values_n)


@dataclass(frozen=True)
class _Frozen:
    """Everything that takes no gradient.

    Attributes:
        scale, softcap: the student's.
        autocast: the matmul precision of both passes, recorded because autocast is off in the backward pass; None
            without autocast.
    """

    loss: Loss
    teacher: Head
    reference: Head | None
    ids: Tensor
    scale: float
    softcap: float | None
    autocast: torch.dtype | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the per-token values computed besides the divergence."""
        wanted = [name for name in self.loss.reads if name not in ("reference", "rewards")]
        return ("student_entropy", *wanted)

    def evaluate(self, student: Head, products_nV: Tensor, tokens: slice) -> tuple[Tensor, Tensor]:
        """Return the divergence at some tokens, [n], and their columns, [n, C]."""
        with torch.no_grad():
            teacher = self.teacher.rows(tokens)
            teacher_nV = teacher.log_probs(teacher.products(self.autocast))
            reference = self.reference.rows(tokens) if self.reference is not None else None
            reference_nV = reference.log_probs(reference.products(self.autocast)) if reference is not None else None
        student_nV, ids_n = student.log_probs(products_nV), self.ids[tokens]
        divergence_n = self.loss.per_token(
            TokenDistributions(student=student_nV, teacher=teacher_nV, reference=reference_nV, ids=ids_n)
        )
        with torch.no_grad():
            make = {
                "student_entropy": lambda: _entropy(student_nV),
                "teacher_entropy": lambda: _entropy(teacher_nV),
                "student_log_prob": lambda: student_nV.gather(-1, ids_n[:, None]).squeeze(-1),
                "teacher_log_prob": lambda: teacher_nV.gather(-1, ids_n[:, None]).squeeze(-1),
            }
            return divergence_n, torch.stack([make[name]() for name in self.columns], -1)


def _entropy(logp_nV: Tensor) -> Tensor:
    p_nV = logp_nV.exp()
    return -p_nV.mul_(logp_nV.clamp(min=torch.finfo(logp_nV.dtype).min)).sum(-1)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left times right to the total without rounding below float32 first (like TRL's `_addmm_fp32`)."""
    if total.is_cuda and left.dtype in (torch.float16, torch.bfloat16):
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


class _Layer(torch.autograd.Function):
    """Compute the divergence [n] and columns [n, C] of the tokens, a few tokens at a time."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, frozen: _Frozen
    ) -> tuple[Tensor, Tensor]:
        student = Head(
            hidden.detach(), weight.detach(), None if bias is None else bias.detach(), frozen.scale, frozen.softcap
        )
        n, V = len(hidden), len(weight)
        is_kept = not hidden.is_cuda and n * V * 4 * KEPT_COPIES <= output_layer.BUDGET_BYTES
        size = max(1, n if is_kept else TILE_LOGITS // V)
        ctx.frozen, ctx.student, ctx.size, ctx.graph = frozen, student, size, None
        results = []
        for start in range(0, n, size) or [0]:
            tokens = slice(start, start + size)
            rows = student.rows(tokens)
            products = rows.products(frozen.autocast).requires_grad_(is_kept)
            with torch.set_grad_enabled(is_kept):
                divergence, columns = frozen.evaluate(rows, products, tokens)
            if is_kept:
                ctx.graph = products, divergence
            results.append((divergence.detach(), columns))
        divergence_n, columns_nC = (torch.cat(parts) for parts in zip(*results))
        ctx.mark_non_differentiable(columns_nC)
        return divergence_n, columns_nC

    @staticmethod
    def backward(ctx: Any, grad_n: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        student, frozen = ctx.student, ctx.frozen
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        wide = torch.promote_types(student.hidden.dtype, torch.float32)
        grad_hidden = torch.zeros_like(student.hidden, dtype=wide) if wants_hidden else None
        grad_weight = torch.zeros_like(student.weight, dtype=wide) if wants_weight else None
        grad_bias = torch.zeros_like(student.bias, dtype=wide) if wants_bias else None
        dtype = student.dtype(frozen.autocast)
        for start in range(0, len(student.hidden), ctx.size):
            tokens = slice(start, start + ctx.size)
            rows = student.rows(tokens)
            if ctx.graph is not None:
                products, divergence = ctx.graph
            else:
                products = rows.products(frozen.autocast).requires_grad_()
                with torch.enable_grad():
                    divergence, _ = frozen.evaluate(rows, products, tokens)
            (grad_nV,) = torch.autograd.grad(divergence, products, grad_n[tokens].to(divergence.dtype))
            del products, divergence
            low_nV = grad_nV.to(dtype)
            if grad_hidden is not None:
                _add_product(grad_hidden[tokens], low_nV, student.weight.to(dtype))
            if grad_weight is not None:
                _add_product(grad_weight, low_nV.t(), rows.hidden.to(dtype))
            if grad_bias is not None:
                grad_bias += grad_nV.sum(0)
            del grad_nV, low_nV  # else they are alive while the next tile is computed
        ctx.graph = None
        gradients = zip((grad_hidden, grad_weight, grad_bias), (student.hidden, student.weight, student.bias))
        return *(None if grad is None else grad.to(of.dtype) for grad, of in gradients), None
