"""Figure 4: teachers continue the misled student's completions."""

from collections.abc import Sequence
from typing import Any

from repro.recipes.labels import after_prefix
from repro.report.figures.export import Plot
from repro.report.figures.points import describe_points, measured_points, plot_points
from repro.report.figures.style import Palette, add_legend, drawing, task_panels
from repro.report.merge import Part
from repro.tables import load
from repro.tables.measured_table import MeasuredTable

CONTINUED_BY = ("Teacher", "Undistillable", "Eta0", "Misled")
PRINTED = ("prefix_correct_low", "prefix_correct_high")


def figure4(part: Part, palette: Palette) -> list[Plot]:
    """Draw the share of continuations that end right, by how much of the student's completion was given."""
    shares = part.settings["prefixes"]["fractions"]
    return [_figure4(table, (0.0, *shares), palette) for table in part.measured]


def _figure4(table: MeasuredTable, shares: Sequence[float], palette: Palette) -> Plot:
    rows: list[dict[str, Any]] = []
    with drawing(palette):
        figure, axes = task_panels(table.tasks)
        for task, axis in zip(table.tasks, axes):
            for model, colour in zip(CONTINUED_BY, palette.series):
                share_of = {after_prefix(model, share): share for share in shares}
                keys = [(row, task, "prefix_correct") for row in table.rows if row in share_of]
                keys = [key for key in keys if table.has(*key)]
                points = [{**point, "fraction": share_of[point["row"]]} for point in measured_points(table, keys)]
                rows += points
                plot_points(axis, [point["fraction"] for point in points], points, colour, model)
            if table.scale == "paper":
                low, high = (load("figures").cell("misled-prefixes", m, figure="Figure 4").value for m in PRINTED)
                axis.axhspan(low, high, color=palette.series[7], alpha=0.3, label="printed in the paper")
            axis.set_ylim(0, 1.02)
            axis.set_title(task)
            axis.set_xlabel("share of the student's completion given")
            axis.set_ylabel("ends right")
        add_legend(figure, axes[0])
    return Plot(
        f"figure4-{table.family}",
        f"Teachers on the misled student's prefixes, {table.family}",
        f"Ends right. {describe_points(rows)}."
        if rows
        else "No prompt was lost that the teacher solves: nothing to show.",
        figure,
        rows,
    )
