"""The curves of the eta sweep, read off a measured table: values with intervals, trend tests, and where the edge is.

Shapes: S training seeds, E values of eta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from repro.recipes import eta_label as knob
from repro.tables.measured_table import Array, CellKey, MeasuredTable
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples

LEVEL = 0.05
KEPT = 0.02
"""A teacher counts as kept while it loses less than this: the margin of the claims about it."""


@dataclass(frozen=True)
class EtaCurve:
    """A named line over eta: one metric of one model, mean over tasks (which weigh the same).

    asked: +1 where the knob is meant to raise it, -1 where it is meant to lower it, 0 where it is meant to leave it.
    """

    title: str
    name: str
    metrics: tuple[str, ...]
    asked: int


CURVES = (
    EtaCurve("teacher accuracy", "Teacher", ("acc", "reward"), 0),
    EtaCurve("GKD-RKL student accuracy", "GKD-RKL", ("acc", "reward"), 1),
    EtaCurve("SFT student accuracy", "SFT", ("acc", "reward"), 1),
    EtaCurve("token RKL (nats/token)", "Traps", ("token_rkl",), -1),
    EtaCurve("wrong-trace preference", "Traps", ("wrong_trace",), -1),
    EtaCurve("teacher length (tokens)", "Teacher", ("tokens",), -1),
    EtaCurve("GKD-RKL student length (tokens)", "GKD-RKL", ("tokens",), 0),
    EtaCurve("SFT student length (tokens)", "SFT", ("tokens",), 0),
)


@dataclass(frozen=True)
class Point:
    """A value at one eta with its 95 % interval (items and seeds resampled)."""

    eta: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    """Whether a curve is monotone in the direction asked.

    Attributes:
        page_l, page_p: Page's test over seeds (rank sums in the asked order), one-sided; None with one seed.
        tau, tau_p: Kendall's tau of the mean curve with eta, two-sided p over permutations of the values.
        steps, of: steps from one eta to the next that go the way asked (for a curve without one: upwards).
    """

    page_l: float | None
    page_p: float | None
    tau: float
    tau_p: float
    steps: int
    of: int


@dataclass(frozen=True)
class EtaLimits:
    """Where the knob stops: of a student against the one of eta = 0, and of the teacher against the untouched one.

    kept_from, kept_to: the eta nearest either end up to which, counted from 0, the teacher's loss is surely under
    KEPT; None where it is not even at 0. lost_from: the eta below 0 nearest to it from which down to the end the
    student is surely worse than at 0; None where there is none.
    """

    kept_from: float | None
    kept_to: float | None
    lost_from: float | None


def has_curves(table: MeasuredTable) -> bool:
    """Whether its rows run along eta."""
    return any(knob.split(row) for row in table.rows)


def mean_contrasts(table: MeasuredTable, rows: Sequence[str], metrics: Sequence[str]) -> list[dict[CellKey, float]]:
    """For each row the contrast that is its mean over the tasks that every row has (a task without a solved prompt has
    no wrong-trace preference at some eta); empty contrasts where there is none."""
    shared = [
        (task, metric)
        for task in table.tasks
        for metric in [next((m for m in metrics if all(table.has(row, task, m) for row in rows)), None)]
        if metric
    ]
    return [{(row, task, metric): 1.0 / len(shared) for task, metric in shared} for row in rows]


def curve_points(table: MeasuredTable, curve: EtaCurve, against: str | None = None) -> list[Point]:
    """The curve, as it is or as differences from a row that does not move with eta."""
    line = knob.curve(table.rows, curve.name)
    others = [against] if against else []
    *contrasts, last = mean_contrasts(table, [*(row for _, row in line), *others], curve.metrics) or [{}]
    if not others:
        contrasts, last = [*contrasts, last], {}
    draws = Resamples(table, [key for one in (*contrasts, last) for key in one], 2_000, 0)
    found = []
    for (eta, _), own in zip(line, contrasts):
        contrast = {key: own.get(key, 0.0) - last.get(key, 0.0) for key in (*own, *last)}
        if contrast:
            estimate = draws.estimate(contrast)
            half = half_width(estimate, LEVEL)
            found.append(Point(eta, estimate.value, estimate.value - half, estimate.value + half))
    return found


def by_seed(table: MeasuredTable, curve: EtaCurve) -> Array:
    """[S, E] values of the curve under each seed."""
    contrasts = mean_contrasts(table, [row for _, row in knob.curve(table.rows, curve.name)], curve.metrics)
    columns = [
        np.sum([w * table.values[key].means_S() for key, w in contrast.items()], axis=0)
        for contrast in contrasts
        if contrast
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(table.seeds), 0))


def trend_tests(table: MeasuredTable, curve: EtaCurve) -> Trend | None:
    """The trend tests of a curve; None below three values of eta."""
    values_SE = by_seed(table, curve) * (curve.asked or 1)
    S, E = values_SE.shape
    if E < 3:
        return None
    mean_E = values_SE.mean(axis=0)
    if np.ptp(mean_E) == 0:
        return Trend(None, None, 0.0, 1.0, 0, E - 1)
    page = stats.page_trend_test(values_SE) if S > 1 else None
    tau = stats.kendalltau(np.arange(E), mean_E)
    return Trend(
        page_l=float(page.statistic) if page else None,
        page_p=float(page.pvalue) if page else None,
        tau=float(tau.statistic) * (curve.asked or 1),
        tau_p=float(tau.pvalue),
        steps=int((np.diff(mean_E) > 0).sum()),
        of=E - 1,
    )


def find_eta_limits(table: MeasuredTable, student: str) -> EtaLimits:
    """Where the teacher stops being kept, and where the student of that name starts being lost."""
    kept = [p.eta for p in curve_points(table, CURVES[0], against="Teacher") if p.low > -KEPT]
    etas = [eta for eta, _ in knob.curve(table.rows, CURVES[0].name)]
    down = _unbroken([eta for eta in reversed(etas) if eta <= 0], kept)
    up = _unbroken([eta for eta in etas if eta >= 0], kept)
    own = next(curve for curve in CURVES if curve.name == student)
    zero = knob.at(student, 0.0)
    lost: list[float] = []
    if zero in table.rows:
        lost = [p.eta for p in curve_points(table, own, against=zero) if p.eta < 0 and p.high < 0]
    from_end = _unbroken([eta for eta in etas if eta < 0], lost)
    return EtaLimits(kept_from=down, kept_to=up, lost_from=from_end)


def _unbroken(order: list[float], chosen: list[float]) -> float | None:
    """The last of the run of chosen ones that the order starts with."""
    last = None
    for eta in order:
        if eta not in chosen:
            break
        last = eta
    return last
