"""Cell verdicts: is our number the paper's, within the margin that the stored files fix? Paper scale only.

The difference ours - paper gets an interval that carries both sides' uncertainty: ours from the bootstrap;
the paper's from its items (as many as `legend.toml` says, drawn apart from ours, with our spread between
items), its one training run (our spread between seeds, where we have several), and the rounding of the print.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from repro.errors import InputError
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.paper.load import PaperTable, PrintedCell
from repro.tables.statistics.decision import ONE_SEED_CAP, Region, VerdictValue, half_width, t_quantile
from repro.tables.statistics.resampling import Estimate, Resamples

# Below this many items a rate of one draw per item takes Wilson's interval instead of the normal one.
FEW_ITEMS = 300


@dataclass(frozen=True)
class CellVerdict:
    """Our number beside the printed one.

    `value` is a verdict, or "diagnosed" (a metric that is never matched) or "erratum" (a printed number that
    cannot be right). difference = ours - printed, with its interval; margin in the metric's unit (a relative
    one is multiplied out).
    """

    cell: str
    family: str
    row: str
    column: str
    metric: str
    printed: str
    measured: float
    difference: float
    interval: tuple[float, float]
    margin: float | None
    margin_kind: str | None
    value: VerdictValue | Literal["diagnosed", "erratum"]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_cells(
    measured: MeasuredTable, stored: PaperTable, alpha: float = 0.05, resamples: int = 10_000, seed: int = 0
) -> list[CellVerdict]:
    """One verdict per stored cell of the family that was measured, in printed order, each at level alpha.

    About alpha / 2 of the cells that lie just on their margin will be contradicted by chance: read cells
    together, and claims for single statements.
    """
    if measured.scale != "paper":
        raise InputError(
            f"result of {measured.study}: cells are judged at paper scale only, this one is {measured.scale}."
        )
    tasks = {stored.column_of(task): task for task in measured.tasks}
    found: list[tuple[PrintedCell, CellKey]] = []
    for cell in stored.select(family=measured.family):
        key = (stored.label(cell), tasks.get(cell.column, cell.column), cell.metric)
        if measured.has(*key):
            found.append((cell, key))
    draws = Resamples(measured, [key for _, key in found], resamples, seed)
    return [_judge(cell, key, draws, cell.row[stored.row_label] not in stored.untrained, alpha) for cell, key in found]


def _judge(cell: PrintedCell, key: CellKey, draws: Resamples, trained: bool, alpha: float) -> CellVerdict:
    estimate = draws.estimate({key: 1.0})
    difference = estimate.value - cell.value
    of_items, of_training = _paper_variances(cell, estimate, trained)
    se = float(np.sqrt(estimate.se**2 + of_items + of_training))
    half = half_width(estimate, alpha, more_items=of_items, more_seeds=of_training)
    low, high = difference - half, difference + half
    if draws.measured.samples_behind(key[2]) == 1 and cell.definition.unit == "fraction" and estimate.items < FEW_ITEMS:
        wilson = _newcombe(cell, estimate, alpha)
        low, high = min(low, wilson[0]), max(high, wilson[1])
    margin = cell.definition.margin
    if margin is not None and cell.definition.margin_kind == "relative":
        margin *= abs(cell.value)
    value, text = _decide(cell, difference, (low, high), margin, se, capped=trained and estimate.seeds == 1)
    if value == "inconclusive":
        theirs = t_quantile(alpha, estimate.items - estimate.tasks) * float(np.sqrt(of_items + of_training))
        text += f"; the paper's own uncertainty alone is ±{theirs:.3g}, whatever we run"
    return CellVerdict(
        cell=cell.name,
        family=draws.measured.family,
        row=key[0],
        column=cell.column,
        metric=cell.metric,
        printed=cell.printed.text,
        measured=estimate.value,
        difference=difference,
        interval=(low, high),
        margin=margin,
        margin_kind=cell.definition.margin_kind,
        value=value,
        text=text,
    )


def _decide(
    cell: PrintedCell,
    difference: float,
    interval: tuple[float, float],
    margin: float | None,
    se: float,
    capped: bool,
) -> tuple[VerdictValue | Literal["diagnosed", "erratum"], str]:
    shown = f"difference {difference:+.4g}, interval {interval[0]:+.4g} to {interval[1]:+.4g}"
    if margin is None:
        return "diagnosed", f"diagnosed, never matched: {shown}"
    if cell.erratum is not None:
        return "erratum", f"printed number is a known erratum ({cell.erratum}), not matched: {shown}"
    shown += f", margin {margin:.4g}"
    region = Region(-margin, margin)
    value: VerdictValue = "inconclusive"
    if -margin <= interval[0] and interval[1] <= margin:
        value = "reproduced"
    elif interval[1] < -margin or interval[0] > margin:
        value = "contradicted"
    if value != "inconclusive" and capped and region.gap(difference) <= ONE_SEED_CAP * se:
        return "inconclusive", f"inconclusive: {shown}; one training seed needs more than {ONE_SEED_CAP:g} SE"
    return value, f"{value}: {shown}"


def _paper_variances(cell: PrintedCell, estimate: Estimate, trained: bool) -> tuple[float, float]:
    """Variances of the printed number: of its items and its rounding, and of its one training run.

    Rounding is uniform within half a unit; items and training spread as ours do.
    """
    of_items = estimate.var_items * estimate.items / (cell.items or estimate.items)
    return of_items + cell.printed.half_unit**2 / 3, estimate.var_seeds * estimate.seeds if trained else 0.0


def _newcombe(cell: PrintedCell, estimate: Estimate, alpha: float) -> tuple[float, float]:
    """Newcombe's interval for a difference of two rates, from Wilson's interval of each (square-and-add)."""
    p, q = min(max(estimate.value, 0.0), 1.0), cell.value
    l1, u1 = _wilson(p, estimate.items, alpha)
    l2, u2 = _wilson(q, cell.items or estimate.items, alpha)
    d = p - q
    return d - float(np.hypot(p - l1, u2 - q)), d + float(np.hypot(u1 - p, q - l2))


def _wilson(rate: float, n: int, alpha: float) -> tuple[float, float]:
    z = float(-special.ndtri(alpha / 2))
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return centre - half, centre + half
