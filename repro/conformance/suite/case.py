"""A case, and the comparisons that all cases share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.conformance.batches import with_gradient
from repro.conformance.calls import CaseError, Loss, LossCall
from repro.conformance.enumeration import expected_gradient, expected_loss

FLOAT32_TOLERANCE = 3e-5
"""Relative, and absolute below 1: losses may compute in float32, and no bug that a case targets is this small."""


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: as on the command line and in test ids.
        title: what must hold.
        threads: public threads about losses that got it wrong, as repository#number.
        needs: features without any of which the case does not apply; names joined by "|" are alternatives.
        check: raises CaseError if the loss does not do it.
    """

    name: str
    title: str
    threads: tuple[str, ...]
    needs: tuple[str, ...]
    check: Callable[[Loss], None]

    def missing(self, loss: Loss) -> str | None:
        """Return what the loss lacks for this case to apply; None if nothing."""
        for need in self.needs:
            if not any(feature in loss.features for feature in need.split("|")):
                return need
        return None

    def __str__(self) -> str:
        return self.name


class Cases(list[Case]):
    """The cases of a module; `add` is the decorator that registers one."""

    def add(
        self, name: str, title: str, *threads: str, needs: tuple[str, ...] = ()
    ) -> Callable[[Callable[[Loss], None]], Callable[[Loss], None]]:
        def register(check: Callable[[Loss], None]) -> Callable[[Loss], None]:
            self.append(Case(name, title, threads, needs, check))
            return check

        return register


def value_of(loss: Loss, call: LossCall) -> float:
    """Return the loss as a number.

    Raises:
        CaseError: the loss raised an error of its own.
    """
    with torch.no_grad():
        return float(_evaluate(loss, call))


def value_and_gradient(loss: Loss, call: LossCall) -> tuple[float, Tensor]:
    """Return the loss and its gradient [B, S, V] with respect to the unshifted student logits.

    Raises:
        CaseError: the loss raised an error of its own, or nothing leads back to the student.
    """
    call = with_gradient(call)
    value = _evaluate(loss, call)
    if not value.requires_grad:
        raise CaseError("the loss has no gradient: it is cut from the student's logits")
    value.backward()
    gradient = call.student_logits.grad
    if gradient is None:
        gradient = torch.zeros_like(call.student_logits)
    return float(value.detach()), gradient


def _evaluate(loss: Loss, call: LossCall) -> Tensor:
    try:
        return loss.evaluate(call)
    except CaseError:
        raise
    except Exception as error:
        raise CaseError(f"raised {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else "no message"


def expect_close(actual: float, expected: float, what: str, tolerance: float | None = None) -> None:
    """Raise CaseError unless two numbers agree."""
    limit = FLOAT32_TOLERANCE if tolerance is None else tolerance
    if not abs(actual - expected) <= limit * max(1.0, abs(expected)):
        raise CaseError(f"{what} is {actual:.6g}, expected {expected:.6g}")


def expect_finite(gradient: Tensor, what: str) -> None:
    """Raise CaseError if a gradient holds NaN or an infinity."""
    bad = int((~torch.isfinite(gradient)).sum())
    if bad:
        raise CaseError(f"{what}: {bad} of {gradient.numel()} entries of the gradient are not finite")


def expect_gradient(actual: Tensor, expected: Tensor, what: str, tolerance: float = FLOAT32_TOLERANCE) -> None:
    """Raise CaseError unless two gradients agree; names the largest difference."""
    expect_finite(actual, what)
    gap = (actual.double() - expected.double()).abs()
    worst = float(gap.max()) if gap.numel() else 0.0
    if worst > tolerance:
        at = tuple((gap == gap.max()).nonzero()[0].tolist())
        raise CaseError(
            f"{what}: gradient at (sequence, position, token) {at} is {float(actual[at]):.6g}, "
            f"expected {float(expected[at]):.6g}"
        )


def expect_enumerated(loss: Loss, call: LossCall, what: str, *, gradient: bool = False) -> None:
    """Raise CaseError unless the loss (and its gradient) matches the enumeration."""
    factor = call.temperature**2 if loss.temperature_squared else 1.0
    expected = factor * expected_loss(call, loss.reduction)
    expect_close(value_of(loss, call), expected, what)
    if gradient and "gradient" in loss.features:
        value, actual = value_and_gradient(loss, call)
        expect_close(value, expected, what)
        expect_gradient(actual, factor * expected_gradient(call, loss.reduction), what)


def name_of(beta: float) -> str:
    """Return what a beta is called in messages."""
    return {0.0: "forward KL", 1.0: "reverse KL"}.get(beta, f"JSD at beta {beta:g}")
