"""A faster output layer for TRL on a CPU: computes logits only for the tokens that count, and only once.

TRL never holds all logits: it multiplies in tiles 32,768 ids wide and recomputes them in the backward pass. If the
vocabulary fits one tile and the logits fit `BUDGET_BYTES`, they are kept here instead and turned into their gradient in
place. Every operation that rounds is the one TRL uses for these tokens, in TRL's order; the omitted ones multiply by
one, add to zero, or allocate. GPUs, autocast, temperatures, softcapping and large vocabularies are left to TRL.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import trl.trainer.utils as trl_utils
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE, ChunkedLogProbFunction

BUDGET_BYTES = 256 * 2**20
"""Most bytes of logits that a forward pass keeps."""


@contextlib.contextmanager
def keep_logits() -> Iterator[None]:
    """Route TRL's fused output layers through `_OutputLayer` within the context. Contexts may be nested.

    Raises:
        RuntimeError: something else has replaced TRL's output layer.
    """
    before = trl_utils._ChunkedLogProbFunction
    if before not in (ChunkedLogProbFunction, _OutputLayer):
        raise RuntimeError("TRL's output layer has already been replaced by other code")
    trl_utils._ChunkedLogProbFunction = _OutputLayer
    try:
        with counted_tokens_alone(trl_utils):
            yield
    finally:
        trl_utils._ChunkedLogProbFunction = before


@contextlib.contextmanager
def counted_tokens_alone(module: Any) -> Iterator[None]:
    """Make a TRL module compute logits only for unmasked tokens, within the context. Contexts may be nested.

    TRL does this itself where it uses Triton. Elsewhere it computes all positions, so that a compiler sees no new
    shapes, and masks prompts and padding afterwards. Nothing is compiled here, and three quarters of an SFT step's
    positions are masked. Results differ by rounding only, because matmuls of other sizes sum in another order.
    """
    before = module._use_triton
    module._use_triton = _always
    try:
        yield
    finally:
        module._use_triton = before


def _always(device: torch.device) -> bool:
    return True


class _OutputLayer:
    """Replaces TRL's `ChunkedLogProbFunction`: `FullLogits` where it applies, else TRL's."""

    @staticmethod
    def apply(
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        chunk_size: int,
        softcapping: float | None,
        logit_scale: float,
        outputs: tuple[str, ...],
    ) -> Any:
        (N, _), V = hidden.shape, weight.shape[0]
        fits = chunk_size >= V and N * V * 4 <= BUDGET_BYTES
        plain = bias is None and temperature == logit_scale == 1.0 and softcapping is None
        is_known = set(outputs) <= {"log_probs", "entropy", "is_top1"}
        if fits and plain and is_known and is_float32_on_cpu(hidden, weight):
            log_prob, entropy, top = FullLogits.apply(
                hidden, weight, targets, "entropy" in outputs, "is_top1" in outputs
            )
            return log_prob, entropy, None, None, top
        return ChunkedLogProbFunction.apply(
            hidden, weight, bias, targets, temperature, chunk_size, softcapping, logit_scale, outputs
        )


def project(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the logits, [N, V], in matmuls with as many rows as TRL's: other sizes may give other last digits."""
    z_NV = hidden.new_empty(len(hidden), len(weight))
    for z_nV, hidden_nH in zip(z_NV.split(TOKEN_CHUNK_SIZE), hidden.split(TOKEN_CHUNK_SIZE)):
        torch.mm(hidden_nH, weight.t(), out=z_nV)
    return z_NV


def project_back(
    ctx: Any, grad_NV: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the gradients of `project`'s two inputs that autograd asks for, summed in TRL's order."""
    wants_hidden, wants_weight = ctx.needs_input_grad[:2]
    chunks = list(zip(grad_NV.split(TOKEN_CHUNK_SIZE), hidden.split(TOKEN_CHUNK_SIZE)))
    grad_hidden = torch.cat([grad_nV @ weight for grad_nV, _ in chunks]) if wants_hidden else None
    if not wants_weight:
        return grad_hidden, None
    grad_weight = torch.zeros_like(weight)
    for grad_nV, hidden_nH in chunks:
        grad_weight.addmm_(grad_nV.t(), hidden_nH)
    return grad_hidden, grad_weight


def is_float32_on_cpu(*tensors: torch.Tensor) -> bool:
    """True if TRL would compute these in float32 on a CPU."""
    return not torch.is_autocast_enabled("cpu") and all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors
    )


class FullLogits(torch.autograd.Function):
    """Compute log p(target) and, on request, the entropy (nats) and whether the target ranks first.

    Shapes: hidden [N, H], weight [V, H], targets [N]; results [N].
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, entropy: bool, top: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        ctx.set_materialize_grads(False)
        z_NV = project(hidden, weight)
        max_N = z_NV.amax(-1)
        e_NV = (z_NV - max_N[:, None]).exp_()
        sum_N = e_NV.sum(-1)
        log_z_N = max_N + torch.log(sum_N)
        log_prob_N = z_NV.gather(-1, targets[:, None]).squeeze(-1) - log_z_N
        entropy_N = log_z_N - e_NV.mul_(z_NV).sum(-1) / sum_N if entropy else None
        top_N = z_NV.argmax(-1) == targets if top else None  # the first of equal logits, as in TRL
        ctx.save_for_backward(hidden, weight, targets, z_NV, log_z_N)
        ctx.mark_non_differentiable(*([top_N] if top_N is not None else []))
        return log_prob_N, entropy_N, top_N

    @staticmethod
    def backward(
        ctx: Any, grad_N: torch.Tensor | None, grad_entropy_N: torch.Tensor | None, _: None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        if grad_entropy_N is not None:
            raise NotImplementedError("this output layer has no gradient of the entropy")
        if grad_N is None:
            return None, None, None, None, None
        hidden, weight, targets, z_NV, log_z_N = ctx.saved_tensors
        grad_NV = z_NV.sub_(log_z_N[:, None]).exp_().neg_()  # in place: the logits are not needed again
        grad_NV[torch.arange(len(targets)), targets] += 1
        grad_NV.mul_(grad_N[:, None])
        return *project_back(ctx, grad_NV, hidden, weight), None, None, None
