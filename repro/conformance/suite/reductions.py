"""How positions become one number: per token or per sequence, micro-batches, tiny and empty batches, chunks."""

import math
from dataclasses import replace

import torch

from repro.conformance.batches import make_call, rows, with_gradient
from repro.conformance.calls import CaseError, Loss, LossCall, Reduction
from repro.conformance.enumeration import counted, expected_gradient, expected_loss
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
    "reduction", "the mean is over tokens (or sequences) as declared, not over positions or vocabulary entries",
    "trl#6478", "verl#7200", "Soup#720",
)  # fmt: skip
def reduction(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((1, 1, 1), (7, 1, 2), seed=21), beta=beta)
        try:
            expect_enumerated(loss, call, name_of(beta), gradient=True)
        except CaseError as error:
            raise CaseError(f"{error}{_reduction_hint(loss, call)}") from error


def _reduction_hint(loss: Loss, call: LossCall) -> str:
    kinds: tuple[tuple[Reduction, str], ...] = (
        ("token", "a mean over tokens"),
        ("sequence", "a mean over sequences of their means"),
        ("sum", "a sum"),
    )
    B, S, V = call.student_logits.shape
    total = expected_loss(call, "sum")
    known = {text: expected_loss(call, kind) for kind, text in kinds if kind != loss.reduction}
    known |= {
        "divided by the number of sequences": total / B,
        "divided by all positions, padding included": total / (B * (S - 1)),
        "divided by the entries of the vocabulary as well": total / (sum(map(len, counted(call))) * V),
    }
    actual = value_of(loss, call)
    return next((f": this is {text}" for text, value in known.items() if math.isclose(actual, value, rel_tol=1e-4)), "")


@CASES.add(
    "micro-batches", "the losses of micro-batches of unequal lengths add up to that of the step",
    "verl#7200", "trl#6006", "trl#6478", "mlx-lm#1413", needs=("num_items",),
)  # fmt: skip
def micro_batches(loss: Loss) -> None:
    for beta in loss.betas:
        call = _step(beta)
        expected = expected_loss(call, loss.reduction)
        for parts in _splits():
            values = [value_of(loss, rows(call, part)) for part in parts]
            expect_close(sum(values), expected, f"{name_of(beta)} of {len(parts)} micro-batches")


@CASES.add(
    "micro-batch-gradient", "the gradients of micro-batches add up to that of the step",
    "Soup#932", "verl#7200", "trl#6006", needs=("num_items", "gradient"),
)  # fmt: skip
def micro_batch_gradient(loss: Loss) -> None:
    for beta in loss.betas:
        call = _step(beta)
        expected = expected_gradient(call, loss.reduction)
        for parts in _splits():
            gradient = torch.cat([value_and_gradient(loss, rows(call, part))[1] for part in parts])
            expect_gradient(gradient, expected, f"{name_of(beta)} of {len(parts)} micro-batches")


def _step(beta: float) -> LossCall:
    call = make_call((2, 1, 3, 1), (6, 1, 2, 3), seed=22)
    return replace(call, beta=beta, num_items=6 + 1 + 2 + 3)


def _splits() -> tuple[tuple[slice, ...], ...]:
    return (
        (slice(0, 4),),
        (slice(0, 1), slice(1, 4)),
        (slice(0, 2), slice(2, 4)),
        tuple(slice(i, i + 1) for i in range(4)),
    )


@CASES.add(
    "masked-micro-batch", "a micro-batch without any token that counts adds nothing to the step", "trl#6006", "trl#5885",
    needs=("num_items", "mask"),
)  # fmt: skip
def masked_micro_batch(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((4,), (0,), seed=23), beta=beta, num_items=9)
        expect_close(value_of(loss, call), 0.0, name_of(beta))


@CASES.add("one-token", "completions of one token, which is the end token, count like all others", "trl#5885")
def one_token(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((3, 1), (1, 1), seed=24), beta=beta)
        expect_enumerated(loss, call, name_of(beta), gradient=True)


@CASES.add("one-sequence", "a batch of one sequence without padding", "Soup#720")
def one_sequence(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((2,), (5,), seed=25), beta=beta)
        expect_enumerated(loss, call, name_of(beta), gradient=True)


@CASES.add("empty-batch", "a batch of no sequences has loss 0 (or is refused by a ValueError), not NaN", "trl#5885")
def empty_batch(loss: Loss) -> None:
    for beta in loss.betas:
        call = replace(make_call((), (), seed=26), beta=beta)
        try:
            value = float(loss.evaluate(with_gradient(call)).detach())
        except ValueError:
            return
        except CaseError:
            raise
        except Exception as error:
            raise CaseError(f"raised {type(error).__name__}: {error}") from error
        expect_close(value, 0.0, name_of(beta))


@CASES.add(
    "chunks", "computing a few positions at a time changes neither value nor gradient", "swift#10114", "unsloth#11556",
    needs=("chunk",),
)  # fmt: skip
def chunks(loss: Loss) -> None:
    for beta in loss.betas:
        for size in (1, 2, 3, 5, 64):
            call = replace(make_call((2, 3, 1), (5, 1, 4), seed=27), beta=beta, chunk_size=size)
            expect_enumerated(loss, call, f"{name_of(beta)} in chunks of {size}", gradient=True)
