"""Figure 4: teachers continue the misled student's completions."""

from collections.abc import Sequence
from typing import Any

from repro.recipes.labels import after_prefix
from repro.report.figures.export import Plot
from repro.report.figures.knob import line_style
from repro.report.figures.points import describe_points, measured_points, plot_points
from repro.report.figures.style import Palette, add_legend, drawing, task_panels
from repro.report.merge import Part
from repro.tables import load
from repro.tables.measured_table import MeasuredTable

CONTINUED_BY = ("Teacher", "Undistillable", "Eta0", "Misled")
RECHECK = 1.1
"""Position on the axis of shares for prefixes cut before a re-check."""
PRINTED = ("prefix_correct_low", "prefix_correct_high")


def figure4(part: Part, palette: Palette) -> list[Plot]:
    """Draw the share of correct continuations: before a re-check, and by how much of a wrong completion was given."""
    shares = part.settings["prefixes"]["fractions"]
    return [_figure4(table, (0.0, *shares), palette) for table in part.measured]


def _figure4(table: MeasuredTable, shares: Sequence[float], palette: Palette) -> Plot:
    rows: list[dict[str, Any]] = []
    with drawing(palette):
        figure, axes = task_panels(table.tasks)
        for task, axis in zip(table.tasks, axes):
            for model in CONTINUED_BY:
                style = line_style(model, palette)
                share_of = {after_prefix(model, share): share for share in shares} | {model: RECHECK}
                keys = [(row, task, "prefix_correct") for row in table.rows if row in share_of]
                keys = [key for key in keys if table.has(*key)]
                keys.sort(key=lambda key: share_of[key[0]])  # a line goes from left to right
                points = [{**point, "fraction": share_of[point["row"]]} for point in measured_points(table, keys)]
                rows += points
                arbitrary = [point for point in points if point["fraction"] != RECHECK]
                recheck = [point for point in points if point["fraction"] == RECHECK]
                plot_points(axis, [point["fraction"] for point in arbitrary], arbitrary, style, model)
                if recheck:
                    plot_points(axis, [RECHECK], recheck, style, f"{model}, before a re-check")
            if table.scale == "paper":
                low, high = (load("figures").cell("misled-prefixes", m, figure="Figure 4").value for m in PRINTED)
                label = "printed in the paper: before a re-check"
                axis.axhspan(low, high, xmin=0.85, color=palette.series[7], alpha=0.3, label=label)
            axis.set_ylim(0, 1.02)
            axis.set_title(task)
            axis.set_xticks([*shares, RECHECK], [*(f"{share:.0%}" for share in shares), "before\na re-check"])
        axes[0].set_ylabel("ends right")
        figure.supxlabel("share of the student's wrong completion given", fontsize=10)
        add_legend(figure, *axes)
    return Plot(
        f"figure4-{table.family}",
        f"Teachers on the misled student's prefixes, {table.family}",
        f"Ends right. {describe_points(rows)}."
        if rows
        else "No lost prompt has a prefix that can be measured, so there is nothing to show.",
        figure,
        rows,
        "If the teachers' lines stay high, they know the answer where the misled student (dashed) has lost it.",
    )
