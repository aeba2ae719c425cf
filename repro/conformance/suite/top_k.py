"""Sums over the Top-K tokens: their sign, the bucket of the tail, and the whole vocabulary as a limit."""

from dataclasses import replace

import torch
from torch import Tensor

from repro.conformance.batches import V, make_call
from repro.conformance.calls import CaseError, Loss, LossCall
from repro.conformance.enumeration import bucketed_gradient, bucketed_loss, expected_loss
from repro.conformance.suite.case import (
    Cases,
    expect_close,
    expect_finite,
    expect_gradient,
    name_of,
    value_and_gradient,
    value_of,
)

CASES = Cases()
SIGN_THREADS = ("verl#5041", "verl#7806", "verl#7856")


def _ends(loss: Loss) -> tuple[float, ...]:
    return tuple(beta for beta in loss.betas if beta in (0.0, 1.0))


def _supports(loss: Loss, beta: float) -> bool:
    """Return true if the teacher's probabilities decide the support."""
    return loss.top_k_of == "teacher" or (loss.top_k_of == "beta" and beta == 0)


def _negative_pair(by_teacher: bool) -> LossCall:
    """Make a pair whose truncated sum over the two likeliest tokens is negative in both directions.

    The model that decides the support has .3 and .25 there, the other one .45 and .4.
    """
    call = make_call((2, 1), (3, 2), seed=41)
    flat = torch.tensor([0.3, 0.25, 0.09, 0.09, 0.09, 0.09, 0.09], dtype=torch.float64)
    peaked = torch.tensor([0.45, 0.4, 0.03, 0.03, 0.03, 0.03, 0.03], dtype=torch.float64)
    wiggle = 0.01 * torch.randn(
        2, *call.student_logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    student, teacher = (peaked, flat) if by_teacher else (flat, peaked)
    return replace(call, student_logits=student.log() + wiggle[0], teacher_logits=teacher.log() + wiggle[1])


@CASES.add(
    "top-k-sign",
    "the loss over the Top-K is never negative, and not by clamping it to 0",
    *SIGN_THREADS,
    needs=("top_k",),
)
def top_k_sign(loss: Loss) -> None:
    for beta in _ends(loss):
        for add_tail in (False, True) if "tail" in loss.features else (False,):
            call = replace(_negative_pair(_supports(loss, beta)), beta=beta, top_k=2, add_tail=add_tail)
            value = value_of(loss, call)
            what = f"{name_of(beta)} over the Top-2{' and the tail' if add_tail else ''}"
            if value < 0:
                raise CaseError(f"{what} is {value:.6g}: a truncated sum is no divergence")
            if "gradient" in loss.features:
                _, gradient = value_and_gradient(loss, call)
                expect_finite(gradient, what)
                if not bool((gradient != 0).any()):
                    raise CaseError(f"{what} is {value:.6g} with no gradient: a negative sum was clamped")


@CASES.add("top-k-all", "K = |V| gives the loss over the whole vocabulary", "verl#7856", "verl#7590", needs=("top_k",))
def top_k_all(loss: Loss) -> None:
    for beta in _ends(loss):
        for add_tail in (False, True) if "tail" in loss.features else (False,):
            call = replace(make_call(seed=42), beta=beta, top_k=V, add_tail=add_tail)
            expect_close(value_of(loss, call), expected_loss(call, loss.reduction), name_of(beta))


@CASES.add(
    "top-k-tail", "the tail bucket holds the probability outside the Top-K of each model", "verl#7855", "verl#7856",
    needs=("tail",),
)  # fmt: skip
def top_k_tail(loss: Loss) -> None:
    for beta in _ends(loss):
        for k in (1, 2, 4):
            call = replace(make_call(seed=43), beta=beta, top_k=k, add_tail=True)
            expected = bucketed_loss(call, _supports(loss, beta), loss.reduction)
            expect_close(value_of(loss, call), expected, f"{name_of(beta)} over the Top-{k} and the tail")


@CASES.add(
    "top-k-tail-gradient", "the tail bucket has its part in the gradient", "verl#7856", needs=("tail", "gradient")
)
def top_k_tail_gradient(loss: Loss) -> None:
    for beta in _ends(loss):
        call = replace(make_call(seed=44), beta=beta, top_k=2, add_tail=True)
        _, actual = value_and_gradient(loss, call)
        expected: Tensor = bucketed_gradient(call, _supports(loss, beta), loss.reduction)
        expect_gradient(actual, expected, f"{name_of(beta)} over the Top-2 and the tail")
