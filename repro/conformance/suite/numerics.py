"""Numbers that break a correct formula: constants, large logits, bfloat16, mixed dtypes."""

from dataclasses import replace

import torch

from repro.conformance.batches import cast, make_call
from repro.conformance.calls import CaseError, Loss, LossCall
from repro.conformance.enumeration import expected_loss
from repro.conformance.suite.case import (
    Cases,
    expect_enumerated,
    expect_finite,
    name_of,
    value_and_gradient,
    value_of,
)

CASES = Cases()
WIDE = 512
"""A vocabulary wide enough for bfloat16 rounding to show."""


@CASES.add("constants", "a constant added to all logits of a position changes nothing", "swift#10156")
def constants(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call(seed=51), beta=beta)
        offset = torch.linspace(-40, 40, call.labels.numel(), dtype=torch.float64).view(*call.labels.shape, 1)
        moved = replace(
            call, student_logits=call.student_logits + offset, teacher_logits=call.teacher_logits - 2 * offset
        )
        expect_enumerated(loss, moved, f"{name_of(beta)} with constants of -40 to 80", gradient=True)


@CASES.add("large-logits", "logits of thousands in float32 give no NaN and no infinity", "swift#10156", "trl#5885")
def large_logits(loss: Loss) -> None:
    for beta in loss.betas:
        call = cast(replace(make_call(seed=52, scale=600.0), beta=beta), torch.float32)
        expect_enumerated(loss, call, name_of(beta))
        if "gradient" in loss.features:
            expect_finite(value_and_gradient(loss, call)[1], name_of(beta))


def _near_pair(seed: int, beta: float) -> LossCall:
    """Make a student close to its teacher, in bfloat16: divergences of about 0.001 nats."""
    call = make_call((1, 2), (3, 2), vocab=WIDE, seed=seed)
    noise = torch.randn(call.student_logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return cast(replace(call, teacher_logits=call.student_logits + 0.05 * noise, beta=beta), torch.bfloat16)


@CASES.add("bf16-sign", "bfloat16 logits never make the loss negative", "swift#10156")
def bf16_sign(loss: Loss) -> None:
    for beta in loss.betas:
        for seed in range(61, 67):
            call = _near_pair(seed, beta)
            value = value_of(loss, call)
            if value < 0:
                right = expected_loss(call, loss.reduction)
                raise CaseError(f"{name_of(beta)} of bfloat16 logits is {value:.3g}, expected {right:.3g}")


@CASES.add("bf16-value", "bfloat16 logits are computed in float32: within 2 % of their exact divergence", "swift#10156")
def bf16_value(loss: Loss) -> None:
    for beta in loss.betas:
        call = _near_pair(71, beta)
        _expect_relative(value_of(loss, call), expected_loss(call, loss.reduction), name_of(beta))


@CASES.add("two-types", "a float32 student and a bfloat16 teacher: computed in float32", "swift#10156")
def two_types(loss: Loss) -> None:
    for beta in loss.betas:
        call = _near_pair(72, beta)
        call = replace(call, student_logits=call.student_logits.float())
        _expect_relative(value_of(loss, call), expected_loss(call, loss.reduction), name_of(beta))


def _expect_relative(actual: float, expected: float, what: str) -> None:
    if not abs(actual - expected) <= 0.02 * expected:
        raise CaseError(f"{what} is {actual:.3g}, the exact divergence of these logits is {expected:.3g}")
