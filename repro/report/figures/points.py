"""Measured values with the half-width of their 95 % interval."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def measured_points(table: MeasuredTable, keys: Iterable[CellKey]) -> list[dict[str, Any]]:
    """Return row, task, metric, value, and the interval's half-width and ends (items and seeds resampled) of each cell."""
    keys = list(keys)
    resamples = Resamples(table, keys, 2_000, 0)
    points = []
    for row, task, metric in keys:
        contrast = {(row, task, metric): 1.0}
        estimate = resamples.estimate(contrast)
        half = half_width(estimate, 0.05)
        low, high = bounded(contrast, (estimate.value - half, estimate.value + half))
        point = {"row": row, "task": task, "metric": metric, "value": estimate.value, "half": half}
        points.append({**point, "low": low, "high": high})
    return points


def plot_points(
    axes: "Axes", x: Iterable[float], points: list[dict[str, Any]], style: Mapping[str, Any], label: str
) -> None:
    """Plot a line through the points with their intervals. style: see `knob.line_style`."""
    axes.errorbar(
        list(x),
        [point["value"] for point in points],
        yerr=interval_arms(points),
        **style,
        capsize=3,
        label=label,
    )


def interval_arms(points: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Return how far each interval reaches below and above its value."""
    return [p["value"] - p["low"] for p in points], [p["high"] - p["value"] for p in points]


def describe_points(points: list[dict[str, Any]]) -> str:
    """Return the points in words, for a figure's description."""
    return "; ".join(
        f"{p['task']}, {p['row']} {metric_name(p['metric'])}: {p['value']:.3f} ({p['low']:.3f} to {p['high']:.3f})"
        for p in points
    )
