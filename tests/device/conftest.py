"""Tests of what a device changes: once on the CPU (`nox -s unit`), once on a GPU (mark `gpu`, `nox -s gpu`)."""

from dataclasses import dataclass

import pytest
import torch


@dataclass(frozen=True)
class Device:
    """A device and the precision that the kit computes in there.

    Attributes:
        relative: error of a loss or a gradient against float64.
        nats: error of one token's log-probability, on average.
    """

    name: str
    relative: float
    nats: float


DEVICES = {"cpu": Device("cpu", 1e-4, 1e-4), "cuda": Device("cuda", 2e-2, 3e-2)}
"""float32 on a CPU; on a GPU bfloat16 autocast in trainers, bfloat16 weights in samplers and frozen models.

The same precision on a CPU gave 0.3 % of a loss, 1.0 to 1.6 % of a gradient (distillation/test_precision.py) and 0.012 nats on these models.
"""


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    """Return the device that the kit takes in this process; a test for another one is skipped."""
    used = "cuda" if torch.cuda.is_available() else "cpu"
    if request.param != used:
        pytest.skip(f"the kit uses {used} in this process")
    return DEVICES[used]
