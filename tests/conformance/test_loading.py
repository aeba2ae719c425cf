"""Anybody's loss: signatures, declarations, what is not applicable, and mistakes in one line."""

import pytest
import torch

from repro.conformance import Loss, as_loss, cases, check, load_loss, run_case, run_cases
from repro.conformance.reference import loss as right
from repro.errors import InputError

CASES = {case.name: case for case in cases()}


def forward(student_logits, teacher_logits, loss_mask):
    """Unreduced: [B, T]."""
    logq, logp = student_logits.log_softmax(-1), teacher_logits.detach().log_softmax(-1)
    return torch.where(loss_mask, (logp.exp() * (logp - logq)).sum(-1), 0.0)


def plain(student, teacher):
    """No mask at all: the positions that count are selected before."""
    logq, logp = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum(-1)


def trained(student_logits, teacher_logits, labels, beta=0.5, num_items_in_batch=None):
    """Shifts by itself, as a trainer does."""
    return right(
        student_logits[:, :-1], teacher_logits[:, :-1], labels[:, 1:], beta, num_items=num_items_in_batch
    )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "declared"),
    [
        (forward, {"divergence": "forward"}),
        (plain, {"divergence": "forward"}),
        (trained, {"shifts": True}),
    ],
)
def test_signatures_that_are_understood(function, declared) -> None:
    tested = as_loss(function, **declared)
    for name in ("forward-kl", "reduction", "forward-gradient", "one-token"):
        outcome = run_case(CASES[name], tested)
        assert (name, outcome.status, outcome.detail) == (name, "holds", "")


def test_what_a_loss_lacks_is_not_applicable_and_never_passed() -> None:
    outcomes = {outcome.case.name: outcome for outcome in run_cases(as_loss(plain, divergence="forward"))}
    for name in ("reverse-kl", "jsd-between", "temperature", "micro-batches", "padding-left", "top-k-tail", "chunks"):
        assert outcomes[name].status == "not applicable", name
        assert outcomes[name].detail.startswith("the loss does not have ")
    assert outcomes["forward-kl"].status == "holds"


def test_declarations_change_what_is_right() -> None:
    def squared(student_logits, teacher_logits, labels, beta=0.0, temperature=1.0):
        return right(student_logits, teacher_logits, labels, beta, temperature) * temperature**2

    def summed(student_logits, teacher_logits, labels, beta=0.0):
        return right(student_logits, teacher_logits, labels, beta, num_items=1)

    assert run_case(CASES["temperature"], as_loss(squared, temperature_squared=True)).status == "holds"
    assert "squared temperature" in run_case(CASES["temperature"], as_loss(squared)).detail
    assert run_case(CASES["reduction"], as_loss(summed, reduction="sum")).status == "holds"
    assert "this is a sum" in run_case(CASES["reduction"], as_loss(summed)).detail


def test_failures_say_what_it_is_instead() -> None:
    def swapped(student_logits, teacher_logits, labels, beta=0.0):
        return right(student_logits, teacher_logits, labels, 1 - beta)

    detail = run_case(CASES["forward-kl"], as_loss(swapped)).detail
    assert detail.endswith("this is the reverse KL")
    assert "expected" in detail


def test_an_error_of_the_loss_is_a_failure_with_its_message() -> None:
    def broken(student_logits, teacher_logits, labels, beta=0.0):
        raise RuntimeError("no kernel for this shape")

    outcome = run_case(CASES["forward-kl"], as_loss(broken))
    assert (outcome.status, outcome.detail) == ("fails", "raised RuntimeError: no kernel for this shape")


def test_unequal_widths_may_be_refused_by_name() -> None:
    def strict(student_logits, teacher_logits, labels, beta=0.0):
        widths = student_logits.shape[-1], teacher_logits.shape[-1]
        if widths[0] != widths[1]:
            raise ValueError(f"vocabularies of {widths[0]} and {widths[1]} ids")
        return right(student_logits, teacher_logits, labels, beta)

    def vague(student_logits, teacher_logits, labels, beta=0.0):
        if student_logits.shape != teacher_logits.shape:
            raise ValueError("bad shapes")
        return right(student_logits, teacher_logits, labels, beta)

    for name in ("wider-teacher", "wider-student"):
        assert run_case(CASES[name], as_loss(strict)).status == "holds"
        assert run_case(CASES[name], as_loss(vague)).status == "fails"


def test_check_fails_and_skips_inside_a_test() -> None:
    check(right, CASES["forward-kl"])
    with pytest.raises(AssertionError, match="reverse-kl"):
        check(lambda student_logits, teacher_logits, beta: plain(student_logits, teacher_logits), CASES["reverse-kl"])
    with pytest.raises(pytest.skip.Exception, match="not applicable"):
        check(plain, CASES["temperature"], divergence="forward")


def extra(student_logits, teacher_logits, labels, hidden_states, beta=0.0):
    return student_logits.sum()


def one_model(student_logits, labels, beta=0.0):
    return student_logits.sum()


NUMBER = 3


@pytest.mark.parametrize(
    ("reference", "declared", "message"),
    [
        ("repro.conformance.reference", {}, "is not MODULE:FUNCTION"),
        ("no_such_module:loss", {}, "no_such_module cannot be imported: ModuleNotFoundError"),
        ("no/such/file.py:loss", {}, "no such file"),
        ("repro.conformance.reference:los", {}, "'los' not found"),
        ("repro.distillation.losses:forward_kl", {}, "--divergence forward"),
        ("repro.distillation.losses:forward_kl", {"divergence": "sideways"}, "--divergence forward"),
        ("repro.conformance.reference:loss", {"reduction": "mean"}, "choose from token, sequence, sum"),
        (f"{__file__}:extra", {}, "has the argument 'hidden_states'"),
        (f"{__file__}:one_model", {}, "no argument for the teacher logits"),
        (f"{__file__}:NUMBER", {}, "is of type int, not a function"),
    ],
)
def test_mistakes_are_named(reference, declared, message) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        load_loss(reference, **declared)


def test_an_adapter_is_taken_as_it_is() -> None:
    adapter = Loss("mine", lambda call: right(call.student_logits, call.teacher_logits, call.labels, call.beta),
                   frozenset({"forward", "mask", "gradient"}))  # fmt: skip
    assert as_loss(adapter) is adapter
    assert run_case(CASES["forward-gradient"], adapter).status == "holds"
    assert run_case(CASES["reverse-kl"], adapter).status == "not applicable"
