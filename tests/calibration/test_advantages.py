import math

import numpy as np
import pytest
import torch
from calibration.renormalised import batch_renormalised
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.calibration import group_advantages
from repro.calibration.advantages import flat_share, group_z


def test_advantages_by_hand() -> None:
    # group 1: task (1, 0), mean 0.5, sample std sqrt(0.5); r_cal (-3, -1), mean -2, sample std sqrt(2).
    task, cal = np.array([1.0, 0.0, 1.0, 1.0]), np.array([-3.0, -1.0, 4.0, 4.0])
    a, b = 0.5 / (math.sqrt(0.5) + 1e-4), 1.0 / (math.sqrt(2.0) + 1e-4)
    np.testing.assert_allclose(group_advantages(task, cal, -2.0, 2), [a + 2 * b, -a - 2 * b, 0, 0], rtol=1e-12)


def test_eta_zero_is_plain_grpo() -> None:
    task, cal = torch.rand(12), torch.randn(12) * 100
    assert torch.equal(group_advantages(task, cal, 0.0, 4), group_z(task, 4))


def test_numpy_and_torch_agree() -> None:
    task, cal = np.random.default_rng(0).normal(size=(2, 24))
    from_numpy = group_advantages(task, cal, 0.7, 6)
    from_torch = group_advantages(torch.tensor(task), torch.tensor(cal), 0.7, 6)
    assert isinstance(from_numpy, np.ndarray)
    assert isinstance(from_torch, torch.Tensor)
    np.testing.assert_allclose(from_numpy, from_torch.numpy(), rtol=1e-12)


def test_equal_rewards_have_advantage_zero() -> None:
    # In float32 the mean of these is off by enough to leave 0.05 after the division by the floor.
    rewards = torch.full((16,), -123.4567)
    assert group_z(rewards, 16).abs().max() < 1e-8


def trl_advantages(columns_nK: torch.Tensor, weights: list[float], group_size: int) -> torch.Tensor:
    """Compute TRL 1.16's advantages from the columns that `_calculate_rewards` returns (sum_then_normalize, no scaling)."""
    rewards_n = (columns_nK * torch.tensor(weights)).nansum(1)
    mean_n = rewards_n.view(-1, group_size).nanmean(1).repeat_interleave(group_size)
    return (rewards_n - mean_n).nan_to_num(0.0)


@pytest.mark.parametrize("eta", [0.0, 0.5, -0.5, 1.0, -1.0, 0.25, -0.1, 1.5, -2.0])
def test_trl_adds_the_same_bits(eta: float) -> None:
    """The sum of rounded z-scores is, bit for bit, the one that TRL makes of two columns with weights (1, eta)."""
    generator = torch.Generator().manual_seed(0)
    n, G = 40_000, 8
    task_n = torch.bernoulli(torch.full((n,), 0.3), generator=generator)
    r_cal_n = torch.randn(n, generator=generator) * 100 - 40
    z_nK = torch.stack([group_z(task_n, G), group_z(r_cal_n, G)], 1).float()
    by_trl = trl_advantages(z_nK, [1.0, eta], G)
    sum_n = group_advantages(task_n, r_cal_n, eta, G, torch.float32)
    by_us = trl_advantages(torch.stack([sum_n, torch.zeros(n)], 1), [1.0, 0.0], G)
    assert torch.equal(by_us.view(torch.int32), by_trl.view(torch.int32))
    torch.testing.assert_close(by_us.double(), group_advantages(task_n, r_cal_n, eta, G), atol=1e-5, rtol=0)


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8),
    st.floats(0.1, 50),
    st.floats(-1e3, 1e3),
)
def test_shift_and_scale_of_a_group_change_nothing(rewards: list[float], scale: float, shift: float) -> None:
    """Each reward is brought to zero mean and unit variance, so units and offsets of groups vanish."""
    x = np.array(rewards)
    z = group_z(x, 4).reshape(2, 4)
    np.testing.assert_allclose(z.sum(1), 0, atol=1e-6)
    for group, values in zip(z, x.reshape(2, 4)):
        if values.std() > 1:
            assert group.std(ddof=1) == pytest.approx(1, abs=2e-4)
    if x.reshape(2, 4).std(1).min() > 1:
        np.testing.assert_allclose(group_z(scale * x + shift, 4).reshape(2, 4), z, atol=2e-3)


def test_batch_renormalisation_is_a_different_algorithm() -> None:
    """If the task's reward is flat, eta does not matter in the control; in Algorithm 1 it does."""
    task, cal = np.ones(8), np.random.default_rng(1).normal(size=8)
    small, large = (batch_renormalised(group_advantages(task, cal, eta, 4)) for eta in (0.1, 1.0))
    np.testing.assert_allclose(small, large, atol=2e-3)
    assert np.abs(group_advantages(task, cal, 0.1, 4)).max() < 0.2


def test_flat_share() -> None:
    assert flat_share(torch.tensor([1.0, 1.0, 0.0, 1.0, 2.0, 2.0]), 2) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("n", "group_size"), [(5, 2), (4, 1)])
def test_incomplete_groups_are_refused(n: int, group_size: int) -> None:
    with pytest.raises(ValueError, match="cannot be split into groups"):
        group_z(np.zeros(n), group_size)
