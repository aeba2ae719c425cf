"""Output layer of the streaming pass: how hidden states become logits.

Shapes: R positions of one chunk, V vocabulary, H hidden size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# The vocabulary is multiplied in slices. On a CPU, slices of weights that stay in cache are up to a quarter faster than
# one product (docs/log.md); on a GPU, slices are as large as the memory for converted weights allows.
_CPU_SLICE = 1024
_GPU_SLICE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class OutputHead:
    """logits = softcap * tanh(scale * (W h + b) / softcap), or scale * (W h + b) without soft-capping.

    Attributes:
        weight: [V, H] W, any floating type.
        bias: [V] b, finite; None for none.
        scale: logit scale (Cohere's logit_scale; the inverse of Granite's logits_scaling).
        softcap: Gemma 2's final_logit_softcapping; None for none.

    Raises:
        ValueError: shapes that do not fit, a bias that is not finite, or a softcap that is not positive.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape:
            raise ValueError(f"an output layer's weight is [V, H], not {tuple(self.weight.shape)}")
        if self.softcap is not None and not self.softcap > 0:
            raise ValueError(f"softcap {self.softcap} must be above 0; None means no soft-capping")
        if self.bias is not None:
            if self.bias.shape != self.weight.shape[:1]:
                raise ValueError(f"bias {tuple(self.bias.shape)} does not fit weight {tuple(self.weight.shape)}")
            if not bool(torch.isfinite(self.bias).all()):
                raise ValueError("the output layer's bias is not finite; mask padded ids with vocab_size instead")

    @torch.no_grad()
    def project(self, hidden_RH: Tensor, out_RV: Tensor, temperature: float = 1.0) -> None:
        """Write the logits of the first V ids, divided by the temperature, into `out_RV` (float32 or float64)."""
        V, dtype = out_RV.shape[1], out_RV.dtype
        weight_VH = self.weight[:V]
        # Scaling H hidden values is cheaper than scaling V logits
        gain = self.scale / (temperature if self.softcap is None else self.softcap)
        is_half = weight_VH.dtype == hidden_RH.dtype and weight_VH.dtype in (torch.bfloat16, torch.float16)
        if is_half and weight_VH.is_cuda:
            torch.mm(hidden_RH, weight_VH.T, out_dtype=torch.float32, out=out_RV)
            if gain != 1:
                out_RV.mul_(gain)
        else:
            h_RH = hidden_RH.to(dtype)
            _multiply(h_RH * gain if gain != 1 else h_RH, weight_VH, out_RV)
        if self.bias is not None:
            out_RV.add_(self.bias[:V].to(dtype) * gain)
        if self.softcap is not None:
            out_RV.tanh_().mul_(self.softcap / temperature)


def _multiply(h_RH: Tensor, weight_VH: Tensor, out_RV: Tensor) -> None:
    same_dtype = weight_VH.dtype == h_RH.dtype
    V, H = weight_VH.shape
    step = _CPU_SLICE
    if h_RH.is_cuda:
        step = V if same_dtype else max(1, _GPU_SLICE_BYTES // (H * h_RH.element_size()))
    converted = None if same_dtype else torch.empty(min(step, V), H, dtype=h_RH.dtype, device=h_RH.device)
    for start in range(0, V, step):
        slice_vH = weight_VH[start : start + step]
        if converted is not None:
            slice_vH = converted[: len(slice_vH)].copy_(slice_vH)
        torch.mm(h_RH, slice_vH.T, out=out_RV[:, start : start + step])
