"""Which divergence it is: direction, the ends of beta, the sign, the temperature, and the gradient of each."""

import math
from dataclasses import replace

import torch

from repro.conformance.batches import make_call, scored
from repro.conformance.calls import CaseError, Loss, LossCall
from repro.conformance.enumeration import expected_gradient, expected_loss
from repro.conformance.suite.case import (
    Cases,
    expect_close,
    expect_enumerated,
    expect_gradient,
    name_of,
    value_and_gradient,
    value_of,
)

CASES = Cases()


@CASES.add(
    "forward-kl", "beta = 0 is KL(teacher||student)", "slime#2254", "Rethinking-OPD#17", "trl#6449", needs=("forward",)
)
def forward_kl(loss: Loss) -> None:
    _direction(loss, 0.0)


@CASES.add(
    "reverse-kl", "beta = 1 is KL(student||teacher)", "slime#2254", "Rethinking-OPD#17", "trl#6449", needs=("reverse",)
)
def reverse_kl(loss: Loss) -> None:
    _direction(loss, 1.0)


def _direction(loss: Loss, beta: float) -> None:
    call = replace(make_call(seed=1), beta=beta)
    try:
        expect_enumerated(loss, call, name_of(beta))
    except CaseError as error:
        other = expected_loss(replace(call, beta=1 - beta), loss.reduction)
        if math.isclose(value_of(loss, call), other, rel_tol=1e-4):
            raise CaseError(f"{error}: this is the {name_of(1 - beta)}") from error
        raise


@CASES.add(
    "jsd-between", "0 < beta < 1 is GKD's generalised JSD, its mixture with beta of the teacher", "trl#6449",
    needs=("beta",),
)  # fmt: skip
def jsd_between(loss: Loss) -> None:
    for beta in (0.1, 0.3, 0.5, 0.9):
        expect_enumerated(loss, replace(make_call(seed=2), beta=beta), name_of(beta))


@CASES.add(
    "beta-ends", "beta close to 0 and 1 is not clamped, and the ends themselves are the two KLs, not 0",
    "verl-recipe#151", needs=("beta", "forward", "reverse"),
)  # fmt: skip
def beta_ends(loss: Loss) -> None:
    call = make_call(seed=3)
    for beta in (0.0, 1.0):
        expect_enumerated(loss, replace(call, beta=beta), name_of(beta))
    for beta, end in ((1e-3, 0.0), (1 - 1e-3, 1.0)):
        value = value_of(loss, replace(call, beta=beta)) / min(beta, 1 - beta)
        limit = expected_loss(replace(call, beta=end), loss.reduction)
        expected = expected_loss(replace(call, beta=beta), loss.reduction) / min(beta, 1 - beta)
        expect_close(value, expected, f"JSD / min(beta, 1 - beta) at beta {beta:g} (limit {limit:.4g})", 0.02)


@CASES.add("jsd-bounded", "for models that exclude each other JSD at 0.5 is ln 2", "swift#10156", needs=("beta",))
def jsd_bounded(loss: Loss) -> None:
    call = make_call(seed=4)
    student, teacher = torch.full_like(call.student_logits, -80.0), torch.full_like(call.teacher_logits, -80.0)
    student[..., 0], teacher[..., 1] = 80.0, 80.0
    expect_enumerated(loss, replace(call, student_logits=student, teacher_logits=teacher, beta=0.5), "JSD")


@CASES.add("self-distillation", "a student that equals its teacher has loss 0 and gradient 0", "OPSD#2", "swift#10156")
def self_distillation(loss: Loss) -> None:
    for beta in loss.betas:
        call = make_call(seed=5)
        call = replace(call, teacher_logits=call.student_logits.clone(), beta=beta)
        expect_enumerated(loss, call, name_of(beta), gradient=True)


@CASES.add(
    "per-token-sign", "no single token has a negative divergence: nothing is clipped before the sum over the vocabulary",
    "OPSD#2", "verl#7856",
)  # fmt: skip
def per_token_sign(loss: Loss) -> None:
    for seed in range(6):
        call = make_call((2,), (1,), seed=seed, scale=4.0)
        for beta in loss.betas:
            expect_enumerated(loss, replace(call, beta=beta), f"{name_of(beta)} of a single token")


@CASES.add(
    "forward-gradient", "the gradient of the forward KL is student - teacher probabilities", "trl#6449",
    needs=("forward", "gradient"),
)  # fmt: skip
def forward_gradient(loss: Loss) -> None:
    expect_enumerated(loss, replace(make_call(seed=6), beta=0.0), name_of(0.0), gradient=True)


@CASES.add(
    "reverse-gradient", "the gradient of the reverse KL goes through both factors of q log(q/p)", "trl#6449",
    "verl#5041", needs=("reverse", "gradient"),
)  # fmt: skip
def reverse_gradient(loss: Loss) -> None:
    expect_enumerated(loss, replace(make_call(seed=6), beta=1.0), name_of(1.0), gradient=True)


@CASES.add(
    "jsd-gradient", "the gradient of JSD is that of both of its terms", "trl#6449", "swift#10114",
    needs=("beta", "gradient"),
)  # fmt: skip
def jsd_gradient(loss: Loss) -> None:
    for beta in (0.3, 0.5):
        expect_enumerated(loss, replace(make_call(seed=6), beta=beta), name_of(beta), gradient=True)


@CASES.add(
    "student-only", "no gradient reaches the teacher, even if its logits have a graph (self-distillation)",
    "miles#3292", needs=("gradient",),
)  # fmt: skip
def student_only(loss: Loss) -> None:
    for beta in loss.betas:
        call = make_call(seed=7)
        call = replace(call, teacher_logits=call.teacher_logits.requires_grad_(), beta=beta)
        _, actual = value_and_gradient(loss, call)
        expect_gradient(actual, expected_gradient(call, loss.reduction), name_of(beta))
        leaked = call.teacher_logits.grad
        if leaked is not None and bool((leaked[scored(call)] != 0).any()):
            raise CaseError(
                f"{name_of(beta)}: the teacher's logits get a gradient of up to {float(leaked.abs().max()):.3g}"
            )


@CASES.add(
    "temperature", "temperature divides both models' logits; the squared factor is there exactly if it is declared",
    "verl#5592", needs=("temperature",),
)  # fmt: skip
def temperature(loss: Loss) -> None:
    for beta in loss.betas:
        for value in (0.5, 2.0):
            call = replace(make_call(seed=8), beta=beta, temperature=value)
            try:
                expect_enumerated(loss, call, f"{name_of(beta)} at temperature {value:g}", gradient=True)
            except CaseError as error:
                raise CaseError(f"{error}{_temperature_hint(loss, call)}") from error


def _temperature_hint(loss: Loss, call: LossCall) -> str:
    actual, plain = value_of(loss, call), expected_loss(call, loss.reduction)
    if math.isclose(actual, plain * call.temperature**2, rel_tol=1e-4):
        return ": multiplied by the squared temperature (declare it if it is meant)"
    if math.isclose(actual, plain, rel_tol=1e-4):
        return ": the declared squared temperature is missing"
    if math.isclose(actual, expected_loss(replace(call, temperature=1.0), loss.reduction), rel_tol=1e-4):
        return ": the temperature is not used"
    return ""
