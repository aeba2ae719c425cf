"""Do the paper's own numbers bear a claim out? Counts over the stored tables, read as the verdict reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repro.tables.paper.claims import Claim, Ref
from repro.tables.paper.load import PaperTable, PrintedCell


@dataclass(frozen=True)
class Comparison:
    """One printed comparison: its sides (right: the bound of a range or exists), and whether it holds."""

    place: str
    left: float
    right: float
    held: bool


def printed_comparisons(claim: Claim, load: Callable[[str], PaperTable]) -> list[Comparison]:
    """One comparison per family and column (per row, where a side averages columns); none if none is printed.

    `load` gives a stored table by its id; a claim about a figure without printed numbers has none.
    """
    if not _is_stored(claim.study):
        return []
    left = _cells(claim, claim.left, load)
    if claim.kind in ("exists", "above"):
        assert claim.low is not None
        return [Comparison(c.name, c.value, claim.low, c.value > claim.low) for c in left]
    if claim.kind == "range":
        assert claim.low is not None
        assert claim.high is not None
        low, high = claim.low - claim.tolerance, claim.high + claim.tolerance
        return [Comparison(c.name, c.value, claim.high, low <= c.value <= high) for c in left]
    if claim.left.columns != claim.right[0].columns:
        return _of_column_means(claim, left, _cells(claim, claim.right[0], load))
    comparisons = []
    for cell in left:
        rivals = [r for ref in claim.right for r in _cells(claim, ref, load) if _pairs(cell, r, claim)]
        if rivals:
            best = max(r.value for r in rivals)
            comparisons.append(Comparison(cell.name, cell.value, best, _exceeds(cell.value, best, claim.margin)))
    return comparisons


def counts(claim: Claim, comparisons: list[Comparison]) -> tuple[int, int]:
    """(held, of). An `exists` claim is one comparison: it holds where any cell does."""
    held = sum(c.held for c in comparisons)
    if claim.kind == "exists" and comparisons:
        return int(held > 0), 1
    return held, len(comparisons)


def _is_stored(study: str) -> bool:
    return study.startswith("table")


def _cells(claim: Claim, ref: Ref, load: Callable[[str], PaperTable]) -> list[PrintedCell]:
    table = load(ref.table or claim.study)
    metrics = (ref.metric,) if ref.metric else claim.metrics
    chosen = []
    for cell in table.select(columns=ref.columns):
        own = [m for m in metrics if m in table.metrics_of[cell.column]]
        if own and cell.metric == own[0] and ref.row in ("*", table.label(cell)):
            chosen.append(cell)
    return chosen


def _pairs(left: PrintedCell, right: PrintedCell, claim: Claim) -> bool:
    same_place = left.row.get("family") == right.row.get("family") and left.column == right.column
    return same_place and (claim.left.row != "*" or dict(left.row) == dict(right.row))


def _of_column_means(claim: Claim, left: list[PrintedCell], right: list[PrintedCell]) -> list[Comparison]:
    comparisons = []
    for row in {tuple(c.row.values()): c.row for c in left}.values():
        mean_left, mean_right = (float(np.mean([c.value for c in side if c.row == row])) for side in (left, right))
        comparisons.append(
            Comparison(" / ".join(row.values()), mean_left, mean_right, _exceeds(mean_left, mean_right, claim.margin))
        )
    return comparisons


def _exceeds(left: float, right: float, margin: float) -> bool:
    # Printed decimals: 0.80 - 0.82 is not exactly -0.02 in binary, so compare beyond their rounding noise.
    return left - right > -margin + 1e-9
