"""From a claim to what a bootstrap can resample: the cells on each side, and the allowed region."""

from dataclasses import dataclass

from repro.tables.claims import Claim, Ref
from repro.tables.decision import Region
from repro.tables.load import PaperTable
from repro.tables.measured import Key, MeasuredTable


@dataclass(frozen=True)
class Part:
    """One comparison of a claim.

    Attributes:
        rival: the right side's row, or for a one-sided claim the row (and task) itself.
        contrast: key -> coefficient over all tasks, tasks weighing the same.
        pairs: the cells behind it by task: (left, right), right None for a one-sided claim.
    """

    rival: str
    contrast: dict[Key, float]
    pairs: tuple[tuple[Key, Key | None], ...]


def region_of(claim: Claim) -> Region:
    """Where the estimate must lie for the claim to hold."""
    if claim.kind == "range":
        assert claim.low is not None
        assert claim.high is not None
        return Region(claim.low - claim.tolerance, claim.high + claim.tolerance)
    if claim.kind in ("exists", "above"):
        assert claim.low is not None
        return Region(low=claim.low)
    return Region(low=-claim.margin)


def parts_of(claim: Claim, measured: MeasuredTable, stored: PaperTable) -> list[Part] | str:
    """A claim's comparisons: one per right side, or per cell for `exists`; or a string: what was not run."""
    left = _side(claim, claim.left, measured, stored)
    if isinstance(left, str):
        return left
    if claim.kind == "exists":
        return [
            Part(f"{row}, {task}", {(row, task, metric): 1.0}, (((row, task, metric), None),))
            for row, task, metric in left
        ]
    if claim.kind in ("range", "above"):
        return [Part(claim.left.row, _mean(left), tuple((key, None) for key in left))]
    parts = []
    for ref in claim.right:
        right = _side(claim, ref, measured, stored)
        if isinstance(right, str):
            return right
        part = _comparison(claim, ref, left, right)
        if part is None:
            return f"rows {claim.left.row!r} and {ref.row!r} share no task"
        parts.append(part)
    return parts


def _comparison(claim: Claim, ref: Ref, left: list[Key], right: list[Key]) -> Part | None:
    if claim.left.columns != ref.columns:
        # Sides over different tasks (open-ended against knowledge): means of sides, no pairs of tasks.
        return Part(ref.row, _difference(left, right), ())
    # A task counts only where both sides have it; "*" compares each row with itself.
    pairs = [(a, b) for a in left for b in right if a[1] == b[1] and (claim.left.row != "*" or a[0] == b[0])]
    if not pairs:
        return None
    return Part(ref.row, _difference([a for a, _ in pairs], [b for _, b in pairs]), tuple(pairs))


def _side(claim: Claim, ref: Ref, measured: MeasuredTable, stored: PaperTable) -> list[Key] | str:
    metrics = (ref.metric,) if ref.metric else claim.metrics
    keys: list[Key] = []
    for row in measured.rows if ref.row == "*" else (ref.row,):
        for task in measured.tasks:
            if ref.columns is None or stored.column_of(task) in ref.columns:
                keys += [(row, task, m) for m in metrics if measured.has(row, task, m)][:1]
    if keys:
        return keys
    tasks = f" on {', '.join(ref.columns)}" if ref.columns else ""
    return f"row {ref.row!r} has no {' or '.join(metrics)}{tasks}"


def _mean(keys: list[Key]) -> dict[Key, float]:
    return {key: 1.0 / len(keys) for key in keys}


def _difference(left: list[Key], right: list[Key]) -> dict[Key, float]:
    contrast = _mean(left)
    for key, weight in _mean(right).items():
        contrast[key] = contrast.get(key, 0.0) - weight
    return contrast
