"""Measured values with their 95 % intervals, and their labels."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import half_width, interval
from repro.tables.statistics.resampling import Resamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CORNERS = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Candidate label positions, (right, up) of the point: between the arms of its intervals."""


def measured_points(table: MeasuredTable, keys: Iterable[CellKey]) -> list[dict[str, Any]]:
    """Return row, task, metric, value, and the interval's half-width and ends (items and seeds resampled) of each cell."""
    keys = list(keys)
    resamples = Resamples(table, keys, 2_000, 0)
    points = []
    for row, task, metric in keys:
        contrast = {(row, task, metric): 1.0}
        estimate = resamples.estimate(contrast)
        low, high = bounded(contrast, interval(estimate, 0.05))
        point = {"row": row, "task": task, "metric": metric, "value": estimate.value}
        point["half"] = half_width(estimate, 0.05)
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


def label_points(axes: "Axes", labels: Iterable[tuple[str, float, float]]) -> None:
    """Write each text beside its point (text, x, y), at the first corner where it overlaps no earlier text or point.

    Call this after everything else is drawn: positions on the page depend on the axes' limits.
    """
    from matplotlib.transforms import Bbox

    labels = list(labels)
    cast("Figure", axes.figure).draw_without_rendering()
    covered = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in axes.transData.transform([at for _, *at in labels])]
    for text, x, y in labels:
        for right, up in _CORNERS:
            style: dict[str, Any] = {
                "ha": "left" if right > 0 else "right",
                "va": "bottom" if up > 0 else "top",
                "fontsize": 8,
            }
            label = axes.annotate(text, (x, y), (4 * right, 4 * up), textcoords="offset points", **style)
            box = label.get_window_extent()
            if (right, up) == _CORNERS[-1] or not any(box.overlaps(other) for other in covered):
                break
            label.remove()
        covered.append(box)


def describe_points(points: list[dict[str, Any]]) -> str:
    """Describe the points in words, for a figure's alt text."""
    return "; ".join(
        f"{p['task']}, {p['row']} {metric_name(p['metric'])}: {p['value']:.3f} ({p['low']:.3f} to {p['high']:.3f})"
        for p in points
    )
