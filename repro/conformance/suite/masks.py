"""What counts: prompts, padding, the end token, masked rows, holes in the mask."""

from dataclasses import replace

import torch

from repro.conformance.batches import END, PAD, make_call, scored
from repro.conformance.calls import IGNORED, CaseError, Loss, LossCall
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
MASK = ("mask",)


@CASES.add("padding-right", "right padding does not count, however wide", "trl#6484", needs=MASK)
def padding_right(loss: Loss) -> None:
    for width in (None, 12):
        _padding(loss, make_call(seed=11, width=width), f"padded to {width or 'the longest'}")


@CASES.add("padding-left", "left padding does not count, and counts no token of the prompt", "trl#6484", needs=MASK)
def padding_left(loss: Loss) -> None:
    for width in (None, 12):
        _padding(loss, make_call(seed=11, side="left", width=width), f"padded to {width or 'the longest'}")


def _padding(loss: Loss, call: LossCall, what: str) -> None:
    for beta in loss.betas:
        expect_enumerated(loss, replace(call, beta=beta), f"{name_of(beta)} {what}", gradient=True)


@CASES.add(
    "padding-nan", "logits of positions that do not count may be NaN, as those of padded attention rows are",
    "swift#10156", "trl#5885", needs=MASK,
)  # fmt: skip
def padding_nan(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call(seed=12), beta=beta)
        broken = replace(call, student_logits=call.student_logits.clone(), teacher_logits=call.teacher_logits.clone())
        for logits in (broken.student_logits, broken.teacher_logits):
            logits[~call.attention_mask.bool()] = float("nan")
        expected = expected_loss(call, loss.reduction)
        expect_close(value_of(loss, broken), expected, name_of(beta))
        if "gradient" in loss.features:
            _, actual = value_and_gradient(loss, broken)
            expect_gradient(actual, expected_gradient(call, loss.reduction), name_of(beta))


@CASES.add(
    "pad-is-end", "where the padding token is the end token, the real end still counts", "trl#6357", "trl#3091",
    needs=MASK,
)  # fmt: skip
def pad_is_end(loss: Loss) -> None:
    for beta in loss.betas:
        for side in ("right", "left"):
            call = replace(make_call(seed=13, pad_id=END, side=side), beta=beta)
            expect_enumerated(loss, call, f"{name_of(beta)}, padded {side}", gradient=True)


@CASES.add(
    "end-inside", "an end token inside the mask (several turns) does not end what counts", "swift#9526", "trl#6357",
    needs=MASK,
)  # fmt: skip
def end_inside(loss: Loss) -> None:
    call = make_call((2, 2), (5, 3), seed=14)
    call.input_ids[0, 4] = call.labels[0, 4] = END
    for beta in loss.betas:
        expect_enumerated(loss, replace(call, beta=beta), name_of(beta))


@CASES.add(
    "id-zero", "a token counts whatever its id: 0, the padding token's, the last of the vocabulary", "trl#6357",
    needs=MASK,
)  # fmt: skip
def id_zero(loss: Loss) -> None:
    call = make_call((2, 2), (4, 3), seed=15)
    for position, token in ((2, 0), (3, PAD), (4, END)):
        call.input_ids[0, position] = call.labels[0, position] = token
    for beta in loss.betas:
        expect_enumerated(loss, replace(call, beta=beta), name_of(beta))


@CASES.add("hole-in-mask", "masked tokens within a completion (tool output) do not count", "trl#6484", needs=MASK)
def hole_in_mask(loss: Loss) -> None:
    call = make_call((2, 2), (6, 3), seed=16)
    call.labels[0, 4:6] = IGNORED
    for beta in loss.betas:
        expect_enumerated(loss, replace(call, beta=beta), name_of(beta), gradient=True)


@CASES.add("prompt-leak", "nothing of the prompt enters: neither its logits nor their gradient", "trl#6478", needs=MASK)
def prompt_leak(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call(seed=17), beta=beta)
        moved = replace(call, student_logits=call.student_logits.clone(), teacher_logits=call.teacher_logits.clone())
        outside = ~scored(call)
        moved.student_logits[outside] += torch.linspace(-3, 3, call.student_logits.shape[-1], dtype=torch.float64)
        moved.teacher_logits[outside] *= -2
        expect_close(value_of(loss, moved), value_of(loss, call), f"{name_of(beta)} with other prompt logits")
        if "gradient" in loss.features:
            _, gradient = value_and_gradient(loss, call)
            if bool((gradient[outside] != 0).any()):
                raise CaseError(f"{name_of(beta)}: positions that score no completion token get a gradient")


@CASES.add(
    "label-shift", "the last prompt position scores the first completion token; the last position scores nothing",
    "trl#6478", "trl#6484", needs=MASK,
)  # fmt: skip
def label_shift(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((3,), (2,), seed=18), beta=beta)
        value = value_of(loss, call)
        early, late = (
            expected_loss(replace(call, labels=call.labels.roll(by, dims=1)), loss.reduction) for by in (-1, 1)
        )
        try:
            expect_enumerated(loss, call, name_of(beta))
        except CaseError as error:
            hint = {early: "one position too early", late: "one position too late"}
            shifted = next((text for other, text in hint.items() if abs(value - other) < 1e-4), "")
            raise CaseError(f"{error}{': counted ' + shifted if shifted else ''}") from error


@CASES.add("masked-row", "a sequence without any token that counts changes nothing", "trl#5885", needs=MASK)
def masked_row(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((2, 5, 1), (4, 0, 3), seed=19), beta=beta)
        expect_enumerated(loss, call, name_of(beta), gradient=True)


@CASES.add(
    "all-masked", "a batch without any token that counts has loss 0 and gradient 0, not 0/0", "trl#5885", needs=MASK
)
def all_masked(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((3, 5), (0, 0), seed=20), beta=beta)
        expect_close(value_of(loss, call), 0.0, name_of(beta))
        if "gradient" in loss.features:
            _, gradient = value_and_gradient(loss, call)
            expect_gradient(gradient, torch.zeros_like(gradient), name_of(beta))
