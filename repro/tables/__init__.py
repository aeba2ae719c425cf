"""What the paper printed, what a run measured, and the verdict between them. Nothing here needs torch."""

from repro.printed.load import load, load_claims
from repro.tables.measured_table import MeasuredTable, merge_seeds
from repro.tables.verdicts.verdict import verdict

__all__ = ["MeasuredTable", "load", "load_claims", "merge_seeds", "verdict"]
