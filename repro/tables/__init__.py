"""Tables: the paper's printed numbers, a run's measured ones, and the verdicts between them. Needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.tables.measured_table import MeasuredTable, merge_seeds
    from repro.tables.paper.load import load, load_claims
    from repro.tables.verdicts.verdict import verdict

__all__ = ["MeasuredTable", "load", "load_claims", "merge_seeds", "verdict"]
_HOMES = {
    "MeasuredTable": "measured_table",
    "merge_seeds": "measured_table",
    "load": "paper.load",
    "load_claims": "paper.load",
    "verdict": "verdicts.verdict",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: rooms below read `tables.paper` alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
