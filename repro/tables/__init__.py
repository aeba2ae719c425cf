"""Tables: a run's measured values, the paper's printed numbers, and the verdicts between them. Imports no torch."""

from repro.printed.load import load, load_claims
from repro.tables.measured_table import MeasuredTable
from repro.tables.merge_seeds import merge_seeds
from repro.tables.verdicts.verdict import verdict

__all__ = ["MeasuredTable", "load", "load_claims", "merge_seeds", "verdict"]
