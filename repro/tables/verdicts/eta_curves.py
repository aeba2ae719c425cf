"""The curves of the eta sweep, from a measured table: values with intervals, trend tests, and the limits of eta.

Shapes: S training seeds, E values of eta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repro.printed.load import load_claims
from repro.recipes.labels import at_eta
from repro.tables.measured_table import Array, CellKey, MeasuredTable
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Contrast, Resamples

LEVEL = 0.05


@dataclass(frozen=True)
class EtaCurve:
    """A named line over eta: one metric of one model, averaged over equally weighted tasks.

    expected_sign: +1 if it should rise with eta, -1 if it should fall, 0 if it should not change.
    """

    title: str
    name: str
    metrics: tuple[str, ...]
    expected_sign: int


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
    """Tests that a curve is monotone in the expected direction.

    Attributes:
        page_l, page_p: Page's test over seeds (rank sums in the expected order), one-sided; None with one seed.
        tau, tau_p: Kendall's tau of the mean curve with eta, two-sided p over permutations of the values.
        steps, of: steps between neighbouring etas in the expected direction (upwards if none), out of all steps.
    """

    page_l: float | None
    page_p: float | None
    tau: float
    tau_p: float
    steps: int
    of: int


@dataclass(frozen=True)
class EtaLimits:
    """Limits of eta: where the teacher's accuracy is no longer kept, and where the student starts to lose.

    Attributes:
        margin: the teacher counts as kept while it loses less than this relative to the untouched one.
        kept_from, kept_to: the range of eta around 0 in which the interval shows that the teacher is kept; None if it
            is not even at 0.
        lost_at: the negative etas at which the interval shows that the student is worse than at eta = 0, lowest first.
    """

    margin: float
    kept_from: float | None
    kept_to: float | None
    lost_at: list[float]


def has_curves(table: MeasuredTable) -> bool:
    """Return True if the table's rows sweep eta."""
    return any(table.rows_along_eta(curve.name) for curve in CURVES)


def mean_contrasts(table: MeasuredTable, rows: Sequence[str], metrics: Sequence[str]) -> list[dict[CellKey, float]]:
    """Return each row's contrast for its mean over the tasks common to all rows; empty if there are none.

    For example, without a solved prompt at some eta, a task has no wrong-trace preference there.
    """
    shared = table.shared_metrics(rows, metrics)
    return [{(row, task, metric): 1.0 / len(shared) for task, metric in shared} for row in rows]


def curve_points(table: MeasuredTable, curve: EtaCurve, against: str | None = None) -> list[Point]:
    """Return the curve, as is or as differences from the row `against`, which does not vary with eta."""
    line = table.rows_along_eta(curve.name)
    rows = [row for _, row in line] + ([against] if against else [])
    contrasts = mean_contrasts(table, rows, curve.metrics)
    reference: Contrast = contrasts.pop() if against else {}
    draws = Resamples(table, [key for contrast in (*contrasts, reference) for key in contrast], 2_000, 0)
    points = []
    for (eta, _), row_contrast in zip(line, contrasts):
        keys = (*row_contrast, *reference)
        contrast = {key: row_contrast.get(key, 0.0) - reference.get(key, 0.0) for key in keys}
        if contrast:
            estimate = draws.estimate(contrast)
            points.append(Point(eta, estimate.value, *bounded(contrast, interval(estimate, LEVEL))))
    return points


def values_by_seed(table: MeasuredTable, curve: EtaCurve) -> Array:
    """Return the values [S, E] of the curve under each seed."""
    contrasts = mean_contrasts(table, [row for _, row in table.rows_along_eta(curve.name)], curve.metrics)
    columns = [
        np.sum([weight * table.values[key].means_S() for key, weight in contrast.items()], axis=0)
        for contrast in contrasts
        if contrast
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(table.seeds), 0))


def trend_tests(table: MeasuredTable, curve: EtaCurve) -> Trend | None:
    """Return a curve's trend tests, or None with fewer than three values of eta."""
    sign = curve.expected_sign or 1
    values_SE = values_by_seed(table, curve) * sign
    S, E = values_SE.shape
    if E < 3:
        return None
    mean_E = values_SE.mean(axis=0)
    if np.ptp(mean_E) == 0:
        return Trend(None, None, 0.0, 1.0, 0, E - 1)
    from scipy import stats  # 0.7 s of CPU time that studies without a sweep can save

    page = stats.page_trend_test(values_SE) if S > 1 else None
    tau = stats.kendalltau(np.arange(E), mean_E)
    return Trend(
        page_l=float(page.statistic) if page else None,
        page_p=float(page.pvalue) if page else None,
        tau=float(tau.statistic) * sign,
        tau_p=float(tau.pvalue),
        steps=int((np.diff(mean_E) > 0).sum()),
        of=E - 1,
    )


def find_eta_limits(table: MeasuredTable, student: str) -> EtaLimits:
    """Return where the teacher stops being kept, and where the named student starts being lost."""
    margin = kept_margin()
    kept_at = [p.eta for p in curve_points(table, CURVES[0], against="Teacher") if p.low > -margin]
    etas = [eta for eta, _ in table.rows_along_eta(CURVES[0].name)]
    curve = next(curve for curve in CURVES if curve.name == student)
    student_at_zero = at_eta(student, 0.0)
    lost_at: list[float] = []
    if student_at_zero in table.rows:
        lost_at = [p.eta for p in curve_points(table, curve, against=student_at_zero) if p.eta < 0 and p.high < 0]
    return EtaLimits(
        margin=margin,
        kept_from=_end_of_run([eta for eta in reversed(etas) if eta <= 0], kept_at),
        kept_to=_end_of_run([eta for eta in etas if eta >= 0], kept_at),
        lost_at=lost_at,
    )


def kept_margin() -> float:
    """Return the loss below which a teacher counts as kept: the margin in the sweep's claims about it."""
    (margin,) = {claim.margin for claim in load_claims("eta-sweep") if claim.kind == "noninferiority"}
    return margin


def _end_of_run(order: list[float], chosen: list[float]) -> float | None:
    """Return the last value of the unbroken run of chosen values at the start of the order."""
    last = None
    for eta in order:
        if eta not in chosen:
            break
        last = eta
    return last
