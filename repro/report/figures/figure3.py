"""Figure 3: teachers keep, students fall."""

from typing import Any

from repro.report.figures.export import Plot
from repro.report.figures.knob import line_style
from repro.report.figures.points import describe_points, measured_points, plot_points
from repro.report.figures.style import Palette, add_legend, drawing, task_panels
from repro.report.merge import Part
from repro.tables.formatting import main_metric
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import metric_name

PAIRS = (("Teacher", "Undistillable", "teacher"), ("Student", "Misled", "student"))
"""Rows joined by a line: before and after calibration, before and after distillation."""


def figure3(part: Part, palette: Palette) -> list[Plot]:
    """Draw a line from before to after, with 95 % intervals."""
    return [_figure3(table, palette) for table in part.measured]


def _figure3(table: MeasuredTable, palette: Palette) -> Plot:
    rows: list[dict[str, Any]] = []
    with drawing(palette):
        figure, axes = task_panels(table.tasks)
        for task, axis in zip(table.tasks, axes):
            metric = main_metric(table, task)

            def measured(*names: str, task: str = task, metric: str = metric) -> list[dict[str, Any]]:
                return measured_points(table, [(n, task, metric) for n in names if table.has(n, task, metric)])

            for before, after, label in PAIRS:
                points = measured(before, after)
                rows += points
                plot_points(axis, range(len(points)), points, line_style(after, palette), label)
            for point in measured("GKD-RKL"):
                rows.append(point)
                axis.plot(
                    [1],
                    [point["value"]],
                    linestyle="",
                    marker="D",
                    fillstyle="none",
                    color=palette.ink,
                    label="GKD-RKL",
                )
            axis.set_xticks((0, 1), ("before", "after"))
            axis.set_xlim(-0.25, 1.25)
            axis.set_ylim(0, 1.02)
            axis.set_title(f"{task} ({metric_name(metric)})")
        add_legend(figure, *axes)
    return Plot(
        f"figure3-{table.family}",
        f"Teachers keep their accuracy, students lose it, {table.family}",
        f"Before and after. {describe_points(rows)}. The diamond is the student of the original teacher.",
        figure,
        rows,
        "The claim: teachers (solid) stay level from before to after, students (dashed) of the undistillable one fall.",
    )
