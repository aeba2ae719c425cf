"""Vocabularies of unequal padded width, and tokens that cannot occur."""

from dataclasses import replace

import torch
from torch import Tensor

from repro.conformance.batches import make_call
from repro.conformance.calls import IGNORED, CaseError, Loss, LossCall
from repro.conformance.enumeration import expected_loss
from repro.conformance.suite.case import Cases, expect_close, expect_enumerated, name_of, value_of

CASES = Cases()
WIDTHS = ("LMOps#286", "LMOps#331", "torchtune#2416", "torchtune#2502", "trl#3028", "Model-Optimizer#2489")
PADDED = 3


@CASES.add(
    "wider-teacher", "a teacher whose output layer is padded further: common tokens, or a clear refusal", *WIDTHS
)
def wider_teacher(loss: Loss) -> None:
    call = make_call(seed=31)
    _unequal(loss, call, replace(call, teacher_logits=_padded(call.teacher_logits)))


@CASES.add(
    "wider-student", "a student whose output layer is padded further: common tokens, or a clear refusal", *WIDTHS
)
def wider_student(loss: Loss) -> None:
    call = make_call(seed=32)
    _unequal(loss, call, replace(call, student_logits=_padded(call.student_logits)))


def _padded(logits: Tensor) -> Tensor:
    """Return logits with further entries as an untrained, padded output layer has them: near 0, not small."""
    return torch.cat([logits, torch.full((*logits.shape[:-1], PADDED), 0.5, dtype=logits.dtype)], -1)


def _unequal(loss: Loss, common: LossCall, padded: LossCall) -> None:
    widths = [str(logits.shape[-1]) for logits in (padded.student_logits, padded.teacher_logits)]
    for beta in loss.betas:
        try:
            value = float(loss.evaluate(replace(padded, beta=beta)).detach())
        except CaseError:
            raise
        except (ValueError, AssertionError, TypeError) as error:
            if all(width in str(error) for width in widths):
                return  # refused, and the message says why
            raise CaseError(f"refused without naming the widths {' and '.join(widths)}: {error}") from error
        except Exception as error:
            raise CaseError(f"crashed inside the formula: {type(error).__name__}: {error}") from error
        expected = expected_loss(replace(common, beta=beta), loss.reduction)
        expect_close(value, expected, f"{name_of(beta)}, widths {' and '.join(widths)}")


@CASES.add(
    "impossible-tokens", "tokens at -inf in both models add nothing, in value and gradient", "LMOps#331",
    needs=("logits",),
)  # fmt: skip
def impossible_tokens(loss: Loss) -> None:
    for beta in loss.betas:
        call = _without(make_call(seed=33), student=True, teacher=True)
        expect_enumerated(loss, replace(call, beta=beta), name_of(beta), gradient=True)


@CASES.add(
    "impossible-to-teacher", "the forward KL to a teacher with tokens at -inf (top-k, grammar) is finite", "verl#7856",
    needs=("forward", "logits"),
)  # fmt: skip
def impossible_to_teacher(loss: Loss) -> None:
    call = _without(make_call(seed=34), student=False, teacher=True)
    expect_enumerated(loss, replace(call, beta=0.0), name_of(0.0), gradient=True)


@CASES.add(
    "impossible-to-student", "the reverse KL of a student with tokens at -inf is finite", "LMOps#331",
    needs=("reverse", "logits"),
)  # fmt: skip
def impossible_to_student(loss: Loss) -> None:
    call = _without(make_call(seed=35), student=True, teacher=False)
    expect_enumerated(loss, replace(call, beta=1.0), name_of(1.0), gradient=True)


def _without(call: LossCall, *, student: bool, teacher: bool) -> LossCall:
    for logits, is_masked in ((call.student_logits, student), (call.teacher_logits, teacher)):
        if is_masked:
            logits[..., -2:] = -torch.inf
    return call


@CASES.add("two-tokens", "a vocabulary of two tokens, worked by hand", "verl#7856")
def two_tokens(loss: Loss) -> None:
    call = make_call((2,), (2,), seed=36)
    student = torch.tensor([0.6, 0.4], dtype=torch.float64).log().expand(*call.labels.shape, 2)
    teacher = torch.tensor([0.9, 0.1], dtype=torch.float64).log().expand(*call.labels.shape, 2)
    labels = torch.where(call.labels == IGNORED, IGNORED, call.labels % 2)
    call = replace(call, labels=labels, input_ids=call.input_ids % 2)
    by_hand = {0.0: 0.226289, 1.0: 0.311239}  # .9 ln(.9/.6) + .1 ln(.1/.4), .6 ln(.6/.9) + .4 ln(.4/.1)
    for beta in loss.betas:
        if beta in by_hand:
            small = replace(call, student_logits=student.clone(), teacher_logits=teacher.clone(), beta=beta)
            tokens = 2 if loss.reduction == "sum" else 1
            expect_close(value_of(loss, small), tokens * by_hand[beta], name_of(beta))
