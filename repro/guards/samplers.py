"""Guards that change the sampling distribution: product of experts with a proxy, and Antidistillation Sampling."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from repro.guards.base import SamplerGuard

if TYPE_CHECKING:
    import torch


class ProductOfExperts(SamplerGuard):
    """Sample from the normalised product p_T^(1 - strength) p_proxy^strength of teacher and proxy, token by token."""

    name: ClassVar[str] = "poe"
    formula: ClassVar[str] = "softmax((1 - strength) z_T / T + strength z_proxy)"
    source: ClassVar[str] = "Distillation Game, arXiv 2605.22737"

    strength: float = pydantic.Field(default=0.5, ge=0, le=1)

    def combine(self, teacher_BV: "torch.Tensor", proxies_BV: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Return [B, V] the weighted mean of the logits."""
        return (1 - self.strength) * teacher_BV + self.strength * proxies_BV[0]


class Antidistillation(SamplerGuard):
    """Antidistillation Sampling: prefer tokens that would raise a proxy's loss if it learned from them.

    g is the gradient of the proxy's mean negative log-likelihood of the teacher's tokens (nats per token) on held-out
    traces. The central difference is the derivative of the proxy's logits along g, which to first order is what a
    gradient step on the token adds to that loss.
    """

    name: ClassVar[str] = "ads"
    formula: ClassVar[str] = (
        "softmax(z_T / T + strength (z[theta + eps g] - z[theta - eps g]) / (2 eps)), theta the proxy"
    )
    source: ClassVar[str] = "Antidistillation Sampling, arXiv 2504.13146"
    reads_holdout: ClassVar[bool] = True
    proxy_count: ClassVar[int] = 2

    strength: float = pydantic.Field(default=0.5, ge=0)
    epsilon: float = pydantic.Field(default=0.01, gt=0)
    """Size of the step along g, in units of g."""
    traces: int = pydantic.Field(default=512, gt=0)
    """Number of held-out traces in the gradient, spread evenly over all of them."""

    def proxies(self, proxy: Any, holdout: Sequence[tuple[list[int], list[int]]]) -> list[Any]:
        """Return the proxy moved along the gradient, and moved against it (the latter in place)."""
        from repro.distillation.loss_gradient import shift, shifted, spread

        gradients = _gradient(proxy, spread(holdout, self.traces))
        along = shifted(proxy, gradients, self.epsilon)
        return [along, shift(proxy, gradients, -self.epsilon)]

    def combine(self, teacher_BV: "torch.Tensor", proxies_BV: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Return [B, V] the teacher's logits plus the directional derivative of the proxy's."""
        along_BV, against_BV = proxies_BV
        return teacher_BV + self.strength * (along_BV - against_BV) / (2 * self.epsilon)


def _gradient(proxy: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> "dict[str, torch.Tensor]":
    """Return the gradient of the proxy's mean loss, with less memory on a GPU, where rounding differs anyway."""
    from repro.distillation.loss_gradient import lean_gradient, mean_loss_gradient

    if not _is_on_gpu(proxy):
        return mean_loss_gradient(proxy, pairs)
    gradients = lean_gradient(proxy, pairs)
    del proxy.forward  # the fused head: in a copy it would use the weights of the original
    return gradients


def _is_on_gpu(model: Any) -> bool:
    return bool(model.device.type == "cuda")
