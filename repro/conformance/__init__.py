"""A conformance suite for distillation losses: tiny cases with float64 oracles by exact enumeration, on anybody's loss.

`repro conform MODULE:FUNCTION` runs it, `pytest --conform MODULE:FUNCTION` does so among tests, and in a test file:

    @pytest.mark.parametrize("case", conformance.suite(), ids=str)
    def test_my_loss(case):
        conformance.check(my_loss, case)

What is compared: `calls.LossCall` (what a loss is called with) against `enumeration` (sums over the vocabulary in
plain Python). Importing this package does not import torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.conformance.calls import Loss, LossCall
    from repro.conformance.loading import as_loss, load_loss
    from repro.conformance.outcome import Outcome, check, run_case, run_cases
    from repro.conformance.suite import Case, cases

_HOMES = {
    "Case": "suite",
    "Loss": "calls",
    "LossCall": "calls",
    "Outcome": "outcome",
    "as_loss": "loading",
    "cases": "suite",
    "check": "outcome",
    "load_loss": "loading",
    "run_case": "outcome",
    "run_cases": "outcome",
}

__all__ = ["Case", "Loss", "LossCall", "Outcome", "as_loss", "cases", "check", "load_loss", "run_case", "run_cases"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
