"""Eq 5 and appendix B against autograd, and the teacher's absence from unrealised tokens."""

import itertools
import math

import numpy as np
import pytest
import torch

from repro.traps import (
    future_kl_gradient,
    gradient_variance,
    sequence_kl_gradient,
    sequence_log_prob,
    token_kl,
    token_kl_gradient,
)


@pytest.fixture
def rollouts():
    torch.manual_seed(0)
    student = torch.randn(3, 4, 6, dtype=torch.float64)
    teacher = torch.randn(3, 4, 6, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    ids = torch.where(mask.bool(), torch.randint(6, (3, 4)), -100)
    return student, teacher, ids, mask


def test_autograd_of_the_surrogate(rollouts):
    student, teacher, ids, mask = rollouts
    z = student.clone().requires_grad_()
    log_p = sequence_log_prob(z, ids, mask)
    loss = ((log_p - sequence_log_prob(teacher, ids, mask)).detach() * log_p).sum()
    (expected,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(sequence_kl_gradient(student, teacher, ids, mask), expected, rtol=0, atol=1e-12)


def test_autograd_of_token_kl(rollouts):
    student, teacher, _, mask = rollouts
    z = student.clone().requires_grad_()
    (expected,) = torch.autograd.grad(token_kl(z, teacher, mask=mask).sum(), z)
    torch.testing.assert_close(token_kl_gradient(student, teacher, mask), expected, rtol=0, atol=1e-12)


def test_the_teacher_is_absent_from_unrealised_tokens(rollouts):
    student, teacher, ids, mask = rollouts
    student[0, 1, 4] = student[0, 1, 5]
    ids[0, 1] = 0
    teacher[0, 1, 4], teacher[0, 1, 5] = 3.0, -math.inf  # a valid alternative and an error
    gradient = sequence_kl_gradient(student, teacher, ids, mask)
    assert float(gradient[0, 1, 4]) == pytest.approx(float(gradient[0, 1, 5]), abs=1e-12)
    # ... while token RKL at the same state tells them apart
    teacher[0, 1, 5] = -3.0
    token = token_kl_gradient(student, teacher, mask)
    assert abs(token[0, 1, 4] - token[0, 1, 5]) > 0.1


def test_masked_positions_have_no_gradient(rollouts):
    student, teacher, ids, mask = rollouts
    student[2], teacher[1, 2:] = math.nan, math.nan
    for gradient in (
        sequence_kl_gradient(student, teacher, ids, mask),
        token_kl_gradient(student, teacher, mask),
        future_kl_gradient(student, teacher, ids, mask),
    ):
        assert torch.isfinite(gradient).all()
        assert not gradient[~mask.bool()].any()
        # Adding a constant to all logits of a step changes nothing
        assert gradient.sum(-1).abs().max() < 1e-12


def test_variance_of_one_step_by_hand():
    """One step, one state: the token gradient is the same for every rollout, the sequence gradient is not."""
    student = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).log().expand(10, 1, 3)
    teacher = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().expand(10, 1, 3)
    ids = torch.tensor([[0]] * 7 + [[1]] * 2 + [[2]])
    variance = gradient_variance(student, teacher, ids, torch.ones(10, 1))
    R = (student - teacher)[0, 0]
    p = student[0, 0].exp()
    samples = torch.stack([R[y] * (torch.eye(3, dtype=torch.float64)[y] - p) for y in ids[:, 0]])
    assert variance.sequence == pytest.approx(float(((samples - samples.mean(0)) ** 2).sum() / 9), rel=1e-12)
    assert variance.token == pytest.approx(0, abs=1e-30)
    assert variance.rollouts == 10


def test_variance_ratio_by_enumeration():
    """Two independent positions with p_S = (1/2, 1/4, 1/4): sixteen equally likely rollouts, both gradients by hand."""
    p, q_TV = np.array([0.5, 0.25, 0.25]), np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    rollouts = list(itertools.product([0, 0, 1, 2], repeat=2))
    kl_T = (p * np.log(p / q_TV)).sum(-1)
    sequence, with_future = [], []
    for tokens in rollouts:
        score_TV = np.eye(3)[list(tokens)] - p
        sequence.append(sum(np.log(p[v] / q_TV[t, v]) for t, v in enumerate(tokens)) * score_TV.sum(0))
        with_future.append(kl_T[1] * score_TV[0])  # the token gradient itself is the same for every rollout
    expected = [np.var(gradients, axis=0, ddof=1).sum() for gradients in (sequence, with_future)]
    student, teacher = (torch.tensor(np.log(x)).expand(16, 2, 3) for x in (p, q_TV))
    variance = gradient_variance(student, teacher, torch.tensor(rollouts), torch.ones(16, 2))
    assert (variance.sequence, variance.token_with_future) == pytest.approx(expected, rel=1e-12)
    assert variance.ratio == pytest.approx(expected[0] / expected[1], rel=1e-12)


def test_variance_ratio_in_sampled_rollouts():
    torch.manual_seed(1)
    student, teacher = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    ids = torch.distributions.Categorical(logits=student[0]).sample((400,))
    variance = gradient_variance(student.expand(400, 5, 8), teacher.expand(400, 5, 8), ids, torch.ones(400, 5))
    # States do not depend on the tokens here, so the fixed-state gradient does not vary at all
    assert variance.token < 1e-20
    assert variance.ratio > 1


def test_refusals(rollouts):
    student, teacher, ids, mask = rollouts
    with pytest.raises(ValueError, match="two or more rollouts"):
        gradient_variance(student[:1], teacher[:1], ids[:1], mask[:1])
    teacher[0, 0, 0] = -math.inf
    with pytest.raises(ValueError, match="rules out"):
        token_kl_gradient(student, teacher, mask)
    student[0, 0, 1] = math.nan
    with pytest.raises(ValueError, match="student logits hold NaN"):
        sequence_kl_gradient(student, teacher, ids, mask)
