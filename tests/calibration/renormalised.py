"""The control that is not Algorithm 1: TRL's "normalize_then_sum"."""

from typing import Any

from repro.calibration.advantages import STD_FLOOR


def batch_renormalised(advantage_n: Any) -> Any:
    """Bring the sum once more to zero mean and unit variance over the batch.

    If one reward has no variance, the other is scaled up to unit variance and |eta| no longer matters.
    """
    centred_n = advantage_n - advantage_n.sum() / advantage_n.shape[0]
    std = ((centred_n**2).sum() / (advantage_n.shape[0] - 1)) ** 0.5
    return centred_n / (std + STD_FLOOR)
