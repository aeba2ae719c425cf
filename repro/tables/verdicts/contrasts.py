"""Turn a claim into contrasts that the bootstrap can resample: the cells on each side, and the allowed region."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from repro.printed.claims import Claim, Ref
from repro.printed.load import PaperTable
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.statistics.decision import Region
from repro.tables.statistics.resampling import Contrast

_FEWEST_POINTS = 3
"""Minimum number of eta values for a curve."""


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim.

    Attributes:
        rival: the row on the right side; for a one-sided claim, the row (and task) itself or a step of eta.
        contrast: key -> coefficient over all tasks, equally weighted.
        pairs: task -> the cells (left, right) behind it; right is None for a one-sided claim.
    """

    rival: str
    contrast: Contrast
    pairs: tuple[tuple[CellKey, CellKey | None], ...]


def region_of(claim: Claim) -> Region:
    """Return the region in which the estimate must lie for the claim to hold."""
    if claim.kind in ("range", "between"):
        assert claim.low is not None
        assert claim.high is not None
        return Region(claim.low - claim.tolerance, claim.high + claim.tolerance)
    if claim.kind == "below":
        assert claim.high is not None
        return Region(high=claim.high)
    if claim.kind in ("collapse", "recovers", "comparable"):  # the margin or factor is in the contrast
        return Region(low=0.0)
    if claim.kind in ("exists", "above"):
        assert claim.low is not None
        return Region(low=claim.low)
    return Region(low=-claim.margin)


def comparisons_of(
    claim: Claim, measured: MeasuredTable, stored: PaperTable, tasks: Collection[str] | None = None
) -> list[Comparison] | str:
    """Return a claim's comparisons on these tasks (None: all tasks), or a string saying what was not run.

    One per right side, per cell for `exists`, per step of eta for `monotone`, and two for `comparable`.
    """
    if claim.kind in ("trend", "monotone"):
        return _along_eta(claim, measured)
    tasks = measured.tasks if tasks is None else tasks
    left = _side(claim, claim.left, measured, stored, tasks)
    if isinstance(left, str):
        return left
    if claim.kind == "exists" and not claim.right:
        return [
            Comparison(f"{row}, {task}", {(row, task, metric): 1.0}, (((row, task, metric), None),))
            for row, task, metric in left
        ]
    if claim.kind in ("range", "above", "below"):
        return [Comparison(claim.left.row, _mean(left), tuple((key, None) for key in left))]
    comparisons = []
    for ref in claim.right:
        right = _side(claim, ref, measured, stored, tasks)
        if isinstance(right, str):
            return right
        against = _two_sided(claim, ref, left, right)
        if not against:
            return f"rows {claim.left.row!r} and {ref.row!r} share no task"
        comparisons += against
    return comparisons


def _along_eta(claim: Claim, measured: MeasuredTable) -> list[Comparison] | str:
    points = measured.rows_along_eta(claim.left.row)
    if len(points) < _FEWEST_POINTS:
        return f"row {claim.left.row!r} was run at {len(points)} values of eta, but a curve needs {_FEWEST_POINTS}"
    keys = measured.shared_metrics([row for _, row in points], claim.metrics)
    if not keys:
        return (
            f"row {claim.left.row!r} has no measurement of {' or '.join(map(metric_name, claim.metrics))} at every eta"
        )
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


def _two_sided(claim: Claim, ref: Ref, left: list[CellKey], right: list[CellKey]) -> list[Comparison]:
    """Return the comparisons with one right side; empty if no task has both sides."""
    if claim.left.columns != ref.columns:
        # The sides cover different tasks (open-ended against knowledge): compare their means, without pairing tasks.
        return [Comparison(ref.row, _difference(left, right), ())]
    # A task counts only where both sides have it; "*" compares each row with itself.
    pairs = tuple((a, b) for a in left for b in right if a[1] == b[1] and (claim.left.row != "*" or a[0] == b[0]))
    if not pairs:
        return []
    if claim.kind == "exists":
        return [Comparison(f"{a[0]}, {a[1]}", {a: 1.0, b: -1.0}, ((a, b),)) for a, b in pairs]
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if claim.kind == "collapse":
        return [Comparison(ref.row, _difference(left, right, 1.0 - claim.margin), pairs)]
    if claim.kind == "recovers":
        lacking = _difference(right, left, 1.0 - claim.margin)
        return [Comparison(ref.row, {key: -weight for key, weight in lacking.items()}, pairs)]
    if claim.kind == "comparable":
        assert claim.factor is not None
        return [
            Comparison(f"{ref.row} at most {claim.factor:g} times", _difference(left, right, claim.factor), pairs),
            Comparison(f"{ref.row} at least 1/{claim.factor:g}", _difference(right, left, claim.factor), pairs),
        ]
    return [Comparison(ref.row, _difference(left, right), pairs)]


def _side(
    claim: Claim, ref: Ref, measured: MeasuredTable, stored: PaperTable, among: Collection[str]
) -> list[CellKey] | str:
    metrics = (ref.metric,) if ref.metric else claim.metrics
    keys: list[CellKey] = []
    for row in measured.rows if ref.row == "*" else (ref.row,):
        for task in measured.tasks:
            if task in among and (ref.columns is None or stored.column_of(task) in ref.columns):
                keys += [(row, task, m) for m in metrics if measured.has(row, task, m)][:1]
    if keys:
        return keys
    tasks = f" on {', '.join(ref.columns)}" if ref.columns else ""
    return f"row {ref.row!r} has no measurement of {' or '.join(map(metric_name, metrics))}{tasks}"


def _mean(keys: list[CellKey]) -> dict[CellKey, float]:
    return {key: 1.0 / len(keys) for key in keys}


def _difference(left: list[CellKey], right: list[CellKey], factor: float = 1.0) -> Contrast:
    """Return factor * mean of the left cells - mean of the right ones."""
    contrast = {key: factor * weight for key, weight in _mean(left).items()}
    for key, weight in _mean(right).items():
        contrast[key] = contrast.get(key, 0.0) - weight
    return contrast
