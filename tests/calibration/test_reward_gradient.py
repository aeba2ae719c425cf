"""Eq 7 to 10 in a world small enough to be written out: what the calibration reward's expected gradient is the gradient of.

Every completion of two models over three tokens and three steps (`tests/traps/enumeration.py`), in float64.
"""

import pytest
import torch
from torch import Tensor
from traps.enumeration import World, make_world

from repro.calibration.reward import calibration_reward
from repro.traps import sequence_log_prob


def policy(world: World) -> Tensor:
    """Return the policy's logits [S, V] of every history, with a gradient; moved off the world's round probabilities."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(world.p.shape, generator=generator, dtype=torch.float64)
    return (world.p + noise).requires_grad_()


def log_probs(world: World, table_SV: Tensor) -> Tensor:
    """Return [N] log-probabilities of all completions."""
    return sequence_log_prob(world.logits(table_SV), world.ids, world.mask)


def minus_kl(world: World, phi_SV: Tensor) -> Tensor:
    """G(phi) = -KL(p_phi || p_C) over completions (Eq 7), by enumeration."""
    log_p, log_c = log_probs(world, phi_SV), log_probs(world, world.q)
    return (log_p.exp() * (log_c - log_p)).sum()


def gradient(value: Tensor, phi_SV: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(value, phi_SV, retain_graph=True)
    return grad


def surrogate(world: World, phi_SV: Tensor, reward_n: Tensor) -> Tensor:
    """Return E_{y ~ p_phi}[r(y) log p_phi(y)] with the expectation and the reward held fixed: its gradient is REINFORCE's."""
    log_p = log_probs(world, phi_SV)
    return (log_p.exp().detach() * reward_n * log_p).sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_completions_are_all_there(seed: int) -> None:
    world = make_world(seed)
    for table in (policy(world), world.q):
        assert log_probs(world, table).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_eq8_the_objective_is_a_sum_over_steps_of_token_divergences(seed: int) -> None:
    world = make_world(seed)
    phi = policy(world)
    log_p_SV, log_c_SV = phi.log_softmax(-1), world.q.log_softmax(-1)
    step_NT = (log_p_SV.exp() * (log_c_SV - log_p_SV)).sum(-1)[world.states] * world.mask
    weight_N = log_probs(world, phi).exp()
    # A state's step is weighted by the probability of reaching it: the sum over the completions that pass through it.
    assert (weight_N[:, None] * step_NT).sum().item() == pytest.approx(minus_kl(world, phi).item(), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_eq9_and_10_the_expected_gradient_of_the_reward_is_that_of_minus_kl(seed: int) -> None:
    world = make_world(seed)
    phi = policy(world)
    reward_n = calibration_reward(log_probs(world, world.q), log_probs(world, phi))
    assert not reward_n.requires_grad
    expected = gradient(minus_kl(world, phi), phi)
    torch.testing.assert_close(gradient(surrogate(world, phi, reward_n), phi), expected, atol=1e-12, rtol=0)
    assert expected.abs().max() > 1e-2


@pytest.mark.parametrize("seed", range(2))
def test_eq9_by_finite_differences(seed: int) -> None:
    """Without autograd on the expected side."""
    world = make_world(seed)
    phi = policy(world)
    found = gradient(surrogate(world, phi, calibration_reward(log_probs(world, world.q), log_probs(world, phi))), phi)
    step = 1e-6
    for state in range(phi.shape[0]):
        for token in range(phi.shape[1]):
            change = torch.zeros_like(phi)
            change[state, token] = step
            with torch.no_grad():
                slope = (minus_kl(world, phi + change) - minus_kl(world, phi - change)) / (2 * step)
            assert found[state, token].item() == pytest.approx(slope.item(), abs=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_the_stopped_term_has_zero_mean_gradient(seed: int) -> None:
    """Differentiated through, the reward adds -E[grad log p_phi], which is zero."""
    world = make_world(seed)
    phi = policy(world)
    log_p = log_probs(world, phi)
    through = gradient((log_p.exp().detach() * (log_probs(world, world.q) - log_p)).sum(), phi)
    torch.testing.assert_close(through, torch.zeros_like(phi), atol=1e-12, rtol=0)


@pytest.mark.parametrize("change", ["other sign", "without the policy's term", "reversed divergence"])
def test_another_reward_has_another_gradient(change: str) -> None:
    """What the test above would see if the reward were wrong."""
    world = make_world(0)
    phi = policy(world)
    log_c, log_p = log_probs(world, world.q), log_probs(world, phi).detach()
    rewards = {
        "other sign": log_p - log_c,
        "without the policy's term": log_c,
        "reversed divergence": (log_c - log_p).exp(),
    }
    expected = gradient(minus_kl(world, phi), phi)
    assert (gradient(surrogate(world, phi, rewards[change]), phi) - expected).abs().max() > 1e-2


def test_the_gradient_of_the_anchor_is_that_of_the_other_direction() -> None:
    """Eq 6's KL(p_phi||p_T) as TRL estimates it at each token, k3 on the policy's own samples: right in value alone."""
    generator = torch.Generator().manual_seed(0)
    phi_V = torch.randn(7, generator=generator, dtype=torch.float64).requires_grad_()
    log_t_V = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(-1)
    log_p_V = phi_V.log_softmax(-1)
    k3_V = (log_t_V - log_p_V).exp() - (log_t_V - log_p_V) - 1
    p_V = log_p_V.exp()
    anchor = (p_V.detach() * k3_V).sum()  # the samples do not move with the policy
    reverse, forward = (p_V * (log_p_V - log_t_V)).sum(), (log_t_V.exp() * (log_t_V - log_p_V)).sum()
    assert anchor.item() == pytest.approx(reverse.item(), abs=1e-12)
    torch.testing.assert_close(gradient(anchor, phi_V), gradient(forward, phi_V), atol=1e-12, rtol=0)
    assert (gradient(anchor, phi_V) - gradient(reverse, phi_V)).abs().max() > 1e-2
