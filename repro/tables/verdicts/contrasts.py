"""Turn a claim into contrasts that a bootstrap can resample: the cells on each side, and the allowed region."""

from dataclasses import dataclass
from itertools import pairwise

from repro.printed.claims import Claim, Ref
from repro.printed.load import PaperTable
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.statistics.decision import Region
from repro.tables.statistics.resampling import Contrast

_FEWEST_POINTS = 3
"""Values of eta below which there is no curve."""


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim.

    Attributes:
        rival: the right side's row; for a one-sided claim the row (and task) itself, or a step of eta.
        contrast: key -> coefficient over all tasks, tasks weighing the same.
        pairs: the cells behind it by task: (left, right), right None for a one-sided claim.
    """

    rival: str
    contrast: Contrast
    pairs: tuple[tuple[CellKey, CellKey | None], ...]


def region_of(claim: Claim) -> Region:
    """Return the region where the estimate must be for the claim to hold."""
    if claim.kind == "range":
        assert claim.low is not None
        assert claim.high is not None
        return Region(claim.low - claim.tolerance, claim.high + claim.tolerance)
    if claim.kind in ("exists", "above"):
        assert claim.low is not None
        return Region(low=claim.low)
    return Region(low=-claim.margin)


def comparisons_of(claim: Claim, measured: MeasuredTable, stored: PaperTable) -> list[Comparison] | str:
    """Return a claim's comparisons, or a string that says what was not run.

    There is one per right side, per cell for `exists`, per step of eta for `monotone`.
    """
    if claim.kind in ("trend", "monotone"):
        return _along_eta(claim, measured)
    left = _side(claim, claim.left, measured, stored)
    if isinstance(left, str):
        return left
    if claim.kind == "exists":
        return [
            Comparison(f"{row}, {task}", {(row, task, metric): 1.0}, (((row, task, metric), None),))
            for row, task, metric in left
        ]
    if claim.kind in ("range", "above"):
        return [Comparison(claim.left.row, _mean(left), tuple((key, None) for key in left))]
    comparisons = []
    for ref in claim.right:
        right = _side(claim, ref, measured, stored)
        if isinstance(right, str):
            return right
        comparison = _two_sided(claim, ref, left, right)
        if comparison is None:
            return f"rows {claim.left.row!r} and {ref.row!r} share no task"
        comparisons.append(comparison)
    return comparisons


def _along_eta(claim: Claim, measured: MeasuredTable) -> list[Comparison] | str:
    points = measured.rows_along_eta(claim.left.row)
    if len(points) < _FEWEST_POINTS:
        return f"row {claim.left.row!r} was run at {len(points)} values of eta, a curve needs {_FEWEST_POINTS}"
    keys = measured.shared_metrics([row for _, row in points], claim.metrics)
    if not keys:
        return f"row {claim.left.row!r} has no {' or '.join(claim.metrics)} at every eta"
    sign = 1.0 if claim.direction == "rises" else -1.0

    def contrast(weights: dict[str, float]) -> Contrast:
        return {
            (row, task, metric): sign * weight / len(keys) for task, metric in keys for row, weight in weights.items()
        }

    if claim.kind == "trend":
        mean = sum(eta for eta, _ in points) / len(points)
        spread = sum((eta - mean) ** 2 for eta, _ in points)
        return [Comparison(claim.left.row, contrast({row: (eta - mean) / spread for eta, row in points}), ())]
    return [
        Comparison(f"eta {low:+g} to {high:+g}", contrast({above: 1.0, below: -1.0}), ())
        for (low, below), (high, above) in pairwise(points)
    ]


def _two_sided(claim: Claim, ref: Ref, left: list[CellKey], right: list[CellKey]) -> Comparison | None:
    if claim.left.columns != ref.columns:
        # Sides over different tasks (open-ended against knowledge): means of sides, no pairs of tasks.
        return Comparison(ref.row, _difference(left, right), ())
    # A task counts only where both sides have it; "*" compares each row with itself.
    pairs = [(a, b) for a in left for b in right if a[1] == b[1] and (claim.left.row != "*" or a[0] == b[0])]
    if not pairs:
        return None
    return Comparison(ref.row, _difference([a for a, _ in pairs], [b for _, b in pairs]), tuple(pairs))


def _side(claim: Claim, ref: Ref, measured: MeasuredTable, stored: PaperTable) -> list[CellKey] | str:
    metrics = (ref.metric,) if ref.metric else claim.metrics
    keys: list[CellKey] = []
    for row in measured.rows if ref.row == "*" else (ref.row,):
        for task in measured.tasks:
            if ref.columns is None or stored.column_of(task) in ref.columns:
                keys += [(row, task, m) for m in metrics if measured.has(row, task, m)][:1]
    if keys:
        return keys
    tasks = f" on {', '.join(ref.columns)}" if ref.columns else ""
    return f"row {ref.row!r} has no {' or '.join(metrics)}{tasks}"


def _mean(keys: list[CellKey]) -> dict[CellKey, float]:
    return {key: 1.0 / len(keys) for key in keys}


def _difference(left: list[CellKey], right: list[CellKey]) -> Contrast:
    contrast = _mean(left)
    for key, weight in _mean(right).items():
        contrast[key] = contrast.get(key, 0.0) - weight
    return contrast
