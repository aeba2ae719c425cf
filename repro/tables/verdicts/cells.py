"""Cell verdicts: compare each measured number with the printed one, within its stored margin. Paper scale only.

The interval of ours - paper includes both sides' uncertainty: ours from the bootstrap; the paper's from its items (as
many as `legend.toml` says, independent of ours, with our spread between items), its single training run (our spread
between seeds, if we have several), and rounding in print.
"""

from typing import Literal

import numpy as np
from scipy import special

from repro.errors import InputError
from repro.printed.load import PaperTable, PrintedCell
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.statistics.decision import (
    ONE_SEED,
    ONE_SEED_CAP,
    POWER,
    VERDICT_VALUES,
    Region,
    VerdictValue,
    half_width,
    t_quantile,
)
from repro.tables.statistics.resampling import Estimate, Resamples
from repro.tables.verdicts.verdict_types import CellVerdict

# With fewer items, a rate of one draw per item uses Wilson's interval instead of the normal one.
FEW_ITEMS = 300


def judge_cells(
    measured: MeasuredTable, stored: PaperTable, alpha: float = 0.05, resamples: int = 10_000, seed: int = 0
) -> list[CellVerdict]:
    """Return one verdict per measured cell stored for the family, in printed order, each at level alpha.

    About alpha / 2 of the cells that lie exactly on their margin will be contradicted by chance: read cells as a group,
    and use claims for individual statements.

    Raises:
        InputError: the result is not at paper scale.
    """
    if measured.scale != "paper":
        raise InputError(
            f"result of {measured.study}: cells are judged at paper scale only, this one is {measured.scale}."
        )
    tasks = {stored.column_of(task): task for task in measured.tasks}
    pairs: list[tuple[PrintedCell, CellKey]] = []
    for cell in stored.select(family=measured.family):
        key = (stored.label(cell), tasks.get(cell.column, cell.column), cell.metric)
        if measured.has(*key):
            pairs.append((cell, key))
    draws = Resamples(measured, [key for _, key in pairs], resamples, seed)
    return [_judge(cell, key, draws, cell.row[stored.row_label] not in stored.untrained, alpha) for cell, key in pairs]


def _judge(cell: PrintedCell, key: CellKey, draws: Resamples, trained: bool, alpha: float) -> CellVerdict:
    estimate = draws.estimate({key: 1.0})
    difference = estimate.value - cell.value
    var_items, var_training = _paper_variances(cell, estimate, trained)
    se = float(np.sqrt(estimate.se**2 + var_items + var_training))
    half = half_width(estimate, alpha, more_items=var_items, more_seeds=var_training)
    low, high = difference - half, difference + half
    has_one_draw = draws.measured.samples_per_value(key[2]) == 1
    if has_one_draw and cell.definition.unit == "fraction" and estimate.items < FEW_ITEMS:
        newcombe = _newcombe(cell, estimate, alpha)
        low, high = min(low, newcombe[0]), max(high, newcombe[1])
    margin = cell.definition.margin
    if margin is not None and cell.definition.margin_kind == "relative":
        margin *= abs(cell.value)
    value, text = _decide(cell, difference, (low, high), margin, se, can_be_capped=trained and estimate.seeds == 1)
    if value in VERDICT_VALUES and (idle := draws.measured.idleness(key[0], key[1])):
        value, text = "not testable", f"not testable: idle, {idle}"
    if value == "inconclusive":
        half_of_paper = t_quantile(alpha, estimate.items - estimate.tasks) * float(np.sqrt(var_items + var_training))
        text += f"; the paper's own uncertainty alone is ±{half_of_paper:.3g}, which more runs cannot reduce"
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
        detectable=None if margin is None else margin + (high - low) / 2 + float(special.ndtri(POWER)) * se,
        can_be_reproduced=margin is not None and (high - low) / 2 <= margin,
        value=value,
        text=text,
    )


def _decide(
    cell: PrintedCell,
    difference: float,
    interval: tuple[float, float],
    margin: float | None,
    se: float,
    can_be_capped: bool,
) -> tuple[VerdictValue | Literal["diagnosed", "erratum"], str]:
    summary = f"difference {difference:+.4g}, interval {interval[0]:+.4g} to {interval[1]:+.4g}"
    if margin is None:
        return "diagnosed", f"diagnosed only, not tested: {summary}"
    if cell.erratum is not None:
        return "erratum", f"not tested, since the printed number is a known erratum ({cell.erratum}): {summary}"
    summary += f", margin {margin:.4g}"
    region = Region(-margin, margin)
    value: VerdictValue = "inconclusive"
    if -margin <= interval[0] and interval[1] <= margin:
        value = "reproduced"
    elif interval[1] < -margin or interval[0] > margin:
        value = "contradicted"
    if value != "inconclusive" and can_be_capped and region.gap(difference) <= ONE_SEED_CAP * se:
        return "inconclusive", f"inconclusive: {summary}; {ONE_SEED}"
    return value, f"{value}: {summary}"


def _paper_variances(cell: PrintedCell, estimate: Estimate, trained: bool) -> tuple[float, float]:
    """Return the variances of the printed number: from its items and rounding, and from its single training run.

    Rounding is uniform within half a unit; items and training are assumed to spread like ours.
    """
    var_items = estimate.var_items * estimate.items / (cell.items or estimate.items)
    return var_items + cell.printed.half_unit**2 / 3, estimate.var_seeds * estimate.seeds if trained else 0.0


def _newcombe(cell: PrintedCell, estimate: Estimate, alpha: float) -> tuple[float, float]:
    """Return Newcombe's interval for a difference of two rates, from Wilson's interval of each (square-and-add)."""
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
