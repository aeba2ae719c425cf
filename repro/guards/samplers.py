"""Guards that sample from another law than the teacher's: product of experts with a proxy, and Antidistillation Sampling."""

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

    g is the gradient of the proxy's mean negative log-likelihood of the teacher's tokens (nats per token) on held-out traces.
    The central difference is the derivative of the proxy's logits along g, which to first order is what a gradient step on
    the token adds to that loss.
    """

    name: ClassVar[str] = "ads"
    formula: ClassVar[str] = (
        "softmax(z_T / T + strength (z[theta + eps g] - z[theta - eps g]) / (2 eps)), theta the proxy"
    )
    source: ClassVar[str] = "Antidistillation Sampling, arXiv 2504.13146"
    reads_holdout: ClassVar[bool] = True

    strength: float = pydantic.Field(default=0.5, ge=0)
    epsilon: float = pydantic.Field(default=0.01, gt=0)
    """Size of the step along g, in units of g."""
    traces: int = pydantic.Field(default=512, gt=0)
    """Held-out traces that the gradient is taken of, spread over all of them."""

    def proxies(self, proxy: Any, holdout: Sequence[tuple[list[int], list[int]]]) -> list[Any]:
        """Return the proxy moved along the gradient and against it."""
        from repro.distillation.loss_gradient import mean_loss_gradient, shifted, spread

        gradients = mean_loss_gradient(proxy, spread(holdout, self.traces))
        return [shifted(proxy, gradients, sign * self.epsilon) for sign in (1, -1)]

    def combine(self, teacher_BV: "torch.Tensor", proxies_BV: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Return [B, V] the teacher's logits plus the directional derivative of the proxy's."""
        along_BV, against_BV = proxies_BV
        return teacher_BV + self.strength * (along_BV - against_BV) / (2 * self.epsilon)
