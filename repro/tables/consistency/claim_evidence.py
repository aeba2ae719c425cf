"""Count how often the paper's own numbers support a claim, reading the stored tables the way verdicts do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repro.printed.claims import Claim, Ref
from repro.printed.load import PaperTable, PrintedCell

Load = Callable[[str], PaperTable]
"""Loads a stored table by its id."""


@dataclass(frozen=True)
class PrintedComparison:
    """One printed comparison of a cell or row: its sides (right: the bound, for range and exists), and if it holds."""

    label: str
    left: float
    right: float
    held: bool


def printed_comparisons(claim: Claim, load: Load) -> list[PrintedComparison]:
    """Return one comparison per family and column (per row if a side averages columns); empty if nothing is printed."""
    if not claim.study.startswith("table"):
        return []  # the paper prints no numbers of its figures
    left = _cells(claim, claim.left, load)
    if claim.kind in ("exists", "above") and not claim.right:
        assert claim.low is not None
        return [PrintedComparison(cell.name, cell.value, claim.low, cell.value > claim.low) for cell in left]
    if claim.kind == "below":
        assert claim.high is not None
        return [PrintedComparison(cell.name, cell.value, claim.high, cell.value < claim.high) for cell in left]
    if claim.kind == "range":
        assert claim.low is not None
        assert claim.high is not None
        low, high = claim.low - claim.tolerance, claim.high + claim.tolerance
        return [PrintedComparison(cell.name, cell.value, claim.high, low <= cell.value <= high) for cell in left]
    if claim.left.columns != claim.right[0].columns:
        return _comparisons_of_means(claim, left, _cells(claim, claim.right[0], load))
    right = [cell for ref in claim.right for cell in _cells(claim, ref, load)]
    comparisons = []
    for cell in left:
        rivals = [rival.value for rival in right if _are_comparable(cell, rival, claim)]
        if rivals:
            best = max(rivals)
            comparisons.append(PrintedComparison(cell.name, cell.value, best, _holds(claim, cell.value, best)))
    return comparisons


def counts(claim: Claim, comparisons: list[PrintedComparison]) -> tuple[int, int]:
    """Return (held, of). An `exists` claim is one comparison: it holds if any cell does."""
    held = sum(comparison.held for comparison in comparisons)
    if claim.kind == "exists" and comparisons:
        return int(held > 0), 1
    return held, len(comparisons)


def _cells(claim: Claim, ref: Ref, load: Load) -> list[PrintedCell]:
    table = load(ref.table or claim.study)
    metrics = (ref.metric,) if ref.metric else claim.metrics
    cells = []
    for cell in table.select(columns=ref.columns):
        metric = next((metric for metric in metrics if metric in table.metrics_of[cell.column]), None)
        if cell.metric == metric and ref.row in ("*", table.label(cell)):
            cells.append(cell)
    return cells


def _are_comparable(left: PrintedCell, right: PrintedCell, claim: Claim) -> bool:
    is_same_column = left.row.get("family") == right.row.get("family") and left.column == right.column
    return is_same_column and (claim.left.row != "*" or dict(left.row) == dict(right.row))


def _comparisons_of_means(claim: Claim, left: list[PrintedCell], right: list[PrintedCell]) -> list[PrintedComparison]:
    comparisons = []
    for row in {tuple(cell.row.values()): cell.row for cell in left}.values():
        mean_left, mean_right = (
            float(np.mean([cell.value for cell in side if cell.row == row])) for side in (left, right)
        )
        held = _holds(claim, mean_left, mean_right)
        comparisons.append(PrintedComparison(" / ".join(row.values()), mean_left, mean_right, held))
    return comparisons


def _holds(claim: Claim, left: float, right: float) -> bool:
    # Printed decimals: 0.80 - 0.82 is not exactly -0.02 in binary, so compare beyond their rounding noise.
    noise = 1e-9
    if claim.kind == "collapse":
        return right < (1 - claim.margin) * left - noise
    if claim.kind == "recovers":
        return left > (1 - claim.margin) * right + noise
    if claim.kind == "comparable":
        assert claim.factor is not None
        return max(left, right) < claim.factor * min(left, right) + noise
    if claim.kind == "between":
        assert claim.low is not None
        assert claim.high is not None
        return claim.low - claim.tolerance - noise <= left - right <= claim.high + claim.tolerance + noise
    if claim.kind == "exists":
        assert claim.low is not None
        return left - right > claim.low + noise
    return left - right > -claim.margin + noise
