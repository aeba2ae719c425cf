"""Forking tokens (section 4.2): how much of the KL sits on the few high-entropy tokens."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ForkingShare:
    """The tokens above an entropy quantile, and their share of the KL.

    Attributes:
        threshold: the entropy at the quantile, nats. token_share: share of the tokens strictly above it.
        kl_share: their share of the summed KL; NaN where the sum is 0.
        kl_above, kl_below: mean KL of the tokens above, and of the others, nats per token; NaN if there are none.
    """

    threshold: float
    token_share: float
    kl_share: float
    kl_above: float
    kl_below: float


def forking_share(entropy: Tensor, kl: Tensor, quantile: float = 0.8) -> ForkingShare:
    """Split tokens at a quantile of their entropy and compare the KL on both sides.

    Args:
        entropy: [n] entropy at each token, nats (the policy's: Wang et al., 2025, take the upper fifth).
        kl: [n] token KL at the same tokens, nats.
        quantile: in [0, 1); 0.8 puts the upper fifth above. Tokens at the threshold itself are below, so that
            equal entropies do not count as forks.

    Raises:
        ValueError: no tokens, shapes that differ, values that are not finite, or a quantile outside [0, 1).
    """
    if entropy.shape != kl.shape or entropy.numel() == 0:
        raise ValueError(
            f"entropy {tuple(entropy.shape)} and KL {tuple(kl.shape)} must be of the same tokens, one or more"
        )
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile {quantile} is outside [0, 1)")
    h, d = entropy.double().flatten(), kl.double().flatten()
    if not bool(torch.isfinite(h).all() and torch.isfinite(d).all()):
        raise ValueError("entropy or KL holds NaN or infinity")
    # The k-th smallest value, because torch.quantile is limited to 16 million values
    rank = max(1, math.ceil(quantile * h.numel() - 1e-9))
    threshold = h.kthvalue(rank).values
    above = h > threshold
    count, total = int(above.sum()), float(d.sum())
    upper = float(d[above].sum())
    below = h.numel() - count
    return ForkingShare(
        threshold=float(threshold),
        token_share=count / h.numel(),
        kl_share=upper / total if total else float("nan"),
        kl_above=upper / count if count else float("nan"),
        kl_below=(total - upper) / below if below else float("nan"),
    )
