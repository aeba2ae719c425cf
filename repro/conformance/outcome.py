"""Running cases on a loss: each holds, fails or does not apply."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from repro.conformance.calls import FEATURES, CaseError, Loss
from repro.conformance.suite import Case, cases

Status = Literal["holds", "fails", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case for a loss.

    Attributes:
        detail: of a failure: what came out and what is right; of a case that does not apply: what the loss lacks.
    """

    case: Case
    status: Status
    detail: str = ""


def run_case(case: Case, loss: Loss) -> Outcome:
    """Run one case."""
    need = case.missing(loss)
    if need is not None:
        return Outcome(case, "not applicable", f"the loss does not have {describe_need(need)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a loss may warn; the outcome is what counts
            case.check(loss)
    except CaseError as error:
        return Outcome(case, "fails", str(error))
    return Outcome(case, "holds")


def run_cases(loss: Loss, selected: Iterable[Case] | None = None) -> tuple[Outcome, ...]:
    """Run all cases, or some, in order."""
    return tuple(run_case(case, loss) for case in (cases() if selected is None else selected))


def describe_need(need: str) -> str:
    """Say what a feature (or one of several, joined by "|") is."""
    return " or ".join(text for name, text in FEATURES.items() if name in need.split("|"))


def check(loss: Any, case: Case, **declared: Any) -> None:
    """Run one case inside a test: an AssertionError if it fails, a skip if it does not apply.

    Args:
        loss: a function, or a `Loss`.
        declared: what the function's signature cannot say, as in `loading.as_loss`.
    """
    import pytest

    from repro.conformance.loading import as_loss

    outcome = run_case(case, as_loss(loss, **declared))
    if outcome.status == "not applicable":
        pytest.skip(f"not applicable: {outcome.detail}")
    if outcome.status == "fails":
        raise CaseError(f"{case.name}: {outcome.detail} ({case.title}; see {', '.join(case.threads)})")
