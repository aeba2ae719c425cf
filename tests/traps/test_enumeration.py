"""Eq 1, 2, 3 and 5 against every completion of a small world, in float64: expectations without sampling."""

import pytest
import torch
from traps.enumeration import exact_sample, make_world

from repro.traps import (
    future_kl_gradient,
    importance_weighted_rkl,
    k_forms,
    log_weights,
    per_token,
    sequence_kl,
    sequence_kl_gradient,
    sequence_log_prob,
    token_kl,
    token_kl_gradient,
    weighted_mean,
)

SEEDS = range(5)


def scored(world):
    p, q = world.logits(world.p), world.logits(world.q)
    log_p = sequence_log_prob(p, world.ids, world.mask)
    log_q = sequence_log_prob(q, world.ids, world.mask)
    return p, q, log_p, log_q


@pytest.mark.parametrize("seed", SEEDS)
def test_completions_exhaust_the_probability(seed):
    _, _, log_p, log_q = scored(make_world(seed))
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert float(log_q.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_sequence_and_token_kl_agree_in_expectation_in_both_directions(seed):
    world = make_world(seed)
    p, q, log_p, log_q = scored(world)
    for first, second, log_first, log_second in ((p, q, log_p, log_q), (q, p, log_q, log_p)):
        token = token_kl(first, second, mask=world.mask).sum(-1)
        by_tokens = float((log_first.exp() * token).sum())
        by_sequences = float((log_first.exp() * (log_first - log_second)).sum())
        assert by_tokens == pytest.approx(by_sequences, abs=1e-13)
        assert by_tokens > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_sequence_over_token_kl_is_the_mean_length(seed):
    world = make_world(seed)
    p, q, log_p, log_q = scored(world)
    rows = exact_sample(log_p)
    mask = world.mask[rows]
    per_position = per_token(token_kl(p[rows], q[rows], mask=mask), mask)
    ratio = sequence_kl(log_p[rows], log_q[rows]) / per_position
    assert ratio == pytest.approx(float(mask.sum(-1).double().mean()), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_importance_weighted_rkl_is_rkl_under_exact_weights(seed):
    world = make_world(seed)
    p, q, log_p, log_q = scored(world)
    exact = float((log_p.exp() * (log_p - log_q)).sum())
    rows = exact_sample(log_q)  # sampled from the teacher q; p is the student
    estimate = importance_weighted_rkl(log_p[rows], log_q[rows])
    assert estimate.mean_weight == pytest.approx(1, abs=1e-13)
    assert estimate.rkl == pytest.approx(exact, abs=1e-13)
    assert estimate.k3 == pytest.approx(exact, abs=1e-13)
    assert estimate.self_normalised_rkl == pytest.approx(exact, abs=1e-12)
    # The token form of the same off-policy cell
    token = token_kl(p[rows], q[rows], mask=world.mask[rows]).sum(-1)
    assert weighted_mean(log_weights(log_p[rows], log_q[rows]), token) == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
def test_k1_and_k3_are_unbiased_on_policy_and_k2_is_not(seed):
    _, _, log_p, log_q = scored(make_world(seed))
    exact = float((log_p.exp() * (log_p - log_q)).sum())
    forms = k_forms(log_p, log_q)
    assert float(log_p.exp() @ forms.k1) == pytest.approx(exact, abs=1e-13)
    assert float(log_p.exp() @ forms.k3) == pytest.approx(exact, abs=1e-13)
    assert float(log_p.exp() @ forms.k2) != pytest.approx(exact, rel=1e-3)


def test_token_kl_can_vary_more_than_sequence_kl():
    """Replacing each term by its conditional mean does not bound the variance of their sum.

    Two tokens, two steps: what the first token costs, the second step pays back.
    """
    log = torch.tensor([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.8, 0.2], [0.25, 0.75], [1.0, 0.0]], dtype=torch.float64).log()
    states = torch.tensor([[0, 1], [0, 2]])
    p, q = log[states], teacher[states]
    ids, mask = torch.tensor([[0, 0], [1, 0]]), torch.ones(2, 2)
    sequence = sequence_log_prob(p, ids, mask) - sequence_log_prob(q, ids, mask)
    token = token_kl(p, q).sum(-1)
    assert float(token.mean()) == pytest.approx(float(sequence.mean()), abs=1e-12)
    assert float(sequence.var()) < 1e-30
    assert float(token.var()) > 0.5


def expected_over_states(world, weight_N, gradient_NTV):
    """Sum per-sample gradients at each completion's steps into the logits of their histories."""
    total = torch.zeros_like(world.p)
    weighted = weight_N[:, None, None] * gradient_NTV
    return total.index_add_(0, world.states.flatten(), weighted.flatten(0, 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_gradients_equal_autograd_of_the_exact_kl(seed):
    shuffle = torch.Generator().manual_seed(seed)
    table = torch.randn(7, 3, dtype=torch.float64, generator=shuffle).requires_grad_()
    world = make_world(seed, p_SV=table)
    p, q, log_p, log_q = scored(world)
    (exact,) = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), table)
    with torch.no_grad():
        weight = log_p.exp()
        sequence = sequence_kl_gradient(p, q, world.ids, world.mask)
        token = token_kl_gradient(p, q, world.mask)
        future = future_kl_gradient(p, q, world.ids, world.mask)
        torch.testing.assert_close(expected_over_states(world, weight, sequence), exact, rtol=0, atol=1e-12)
        torch.testing.assert_close(expected_over_states(world, weight, token + future), exact, rtol=0, atol=1e-12)
        # At fixed states alone, on-policy distillation follows another gradient
        assert (expected_over_states(world, weight, token) - exact).abs().max() > 1e-3
