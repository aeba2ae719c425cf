"""The oracle itself: against torch in float64, against finite differences, and by hand."""

import math
from dataclasses import replace

import pytest
import torch

from repro.conformance.batches import make_call, with_gradient
from repro.conformance.enumeration import (
    bucketed_gradient,
    bucketed_loss,
    divergence,
    expected_gradient,
    expected_loss,
    gradient,
    log_probabilities,
    with_tail,
)
from repro.conformance.reference import loss as right

BETAS = (0.0, 1e-3, 0.3, 0.5, 0.9, 1.0)
P, Q = [0.9, 0.1], [0.6, 0.4]


def logs(row: list[float]) -> list[float]:
    return [math.log(x) for x in row]


def test_two_tokens_by_hand() -> None:
    assert divergence(logs(P), logs(Q), 0.0) == pytest.approx(0.9 * math.log(1.5) + 0.1 * math.log(0.25))
    assert divergence(logs(P), logs(Q), 1.0) == pytest.approx(0.6 * math.log(2 / 3) + 0.4 * math.log(4))
    assert divergence(logs(P), logs(P), 0.5) == pytest.approx(0, abs=1e-15)
    assert divergence([0.0, -math.inf], [-math.inf, 0.0], 0.5) == pytest.approx(math.log(2))
    assert divergence([0.0, -math.inf], logs(Q), 1.0) == math.inf


def test_the_ends_are_limits_of_the_generalised_jsd() -> None:
    for end, beta in ((0.0, 1e-6), (1.0, 1 - 1e-6)):
        scaled = divergence(logs(P), logs(Q), beta) / min(beta, 1 - beta)
        assert scaled == pytest.approx(divergence(logs(P), logs(Q), end), rel=1e-5)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradient_is_the_finite_difference(beta: float, temperature: float) -> None:
    teacher, student = [0.5, -1.0, 2.0, 0.1], [1.5, 0.3, -0.7, 0.0]
    log_p = log_probabilities(teacher, temperature)
    closed = gradient(log_p, log_probabilities(student, temperature), beta, temperature)
    for v, slope in enumerate(closed):
        ends = []
        for step in (1e-5, -1e-5):
            moved = [x + step * (i == v) for i, x in enumerate(student)]
            ends.append(divergence(log_p, log_probabilities(moved, temperature), beta))
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("reduction", ["token", "sequence", "sum"])
def test_enumeration_is_torchs_float64(beta: float, reduction: str) -> None:
    """An independent route: torch's own kl_div on the positions picked by hand."""
    call = replace(make_call((1, 2), (3, 1), seed=3), beta=beta)
    picked = [(0, 0), (0, 1), (0, 2), (1, 1)]
    logq, logp = (
        torch.stack([x[at] for at in picked]).log_softmax(-1) for x in (call.student_logits, call.teacher_logits)
    )

    def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.kl_div(b, a, reduction="none", log_target=True).sum(-1)

    if beta in (0, 1):
        values = kl(logp, logq) if beta == 0 else kl(logq, logp)
    else:
        logm = (beta * logp.exp() + (1 - beta) * logq.exp()).log()
        values = beta * kl(logp, logm) + (1 - beta) * kl(logq, logm)
    expected = {
        "token": values.mean(),
        "sequence": (values[:3].mean() + values[3]) / 2,
        "sum": values.sum(),
    }[reduction]
    assert expected_loss(call, reduction) == pytest.approx(float(expected), rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("by_teacher", [True, False])
def test_bucketed_gradient_is_the_finite_difference(beta: float, by_teacher: bool) -> None:
    call = replace(make_call((1,), (2,), seed=4), beta=beta, top_k=2)
    closed = bucketed_gradient(call, by_teacher)
    for at in [(0, 0, v) for v in range(7)] + [(0, 1, 3), (0, 2, 0)]:
        ends = []
        for step in (1e-5, -1e-5):
            moved = call.student_logits.clone()
            moved[at] += step
            ends.append(bucketed_loss(replace(call, student_logits=moved), by_teacher))
        assert float(closed[at]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8)


def test_the_tail_holds_what_the_support_leaves() -> None:
    log_p = logs([0.5, 0.2, 0.2, 0.1])
    assert math.exp(with_tail(log_p, [0, 2])[-1]) == pytest.approx(0.3)
    assert with_tail(log_p, [0, 1, 2, 3])[-1] == -math.inf


@pytest.mark.parametrize("beta", BETAS)
def test_the_reference_agrees_to_float64(beta: float) -> None:
    call = with_gradient(replace(make_call(seed=5), beta=beta))
    value = right(call.student_logits[:, :-1], call.teacher_logits[:, :-1], call.labels[:, 1:], beta)
    (actual,) = torch.autograd.grad(value, call.student_logits)
    assert float(value.detach()) == pytest.approx(expected_loss(call), rel=1e-12)
    torch.testing.assert_close(actual, expected_gradient(call), atol=1e-12, rtol=0)


def test_a_sequence_does_not_depend_on_its_padding() -> None:
    right_padded, left_padded = make_call(side="right"), make_call(side="left", width=12)
    assert expected_loss(right_padded) == pytest.approx(expected_loss(left_padded), rel=1e-14)
