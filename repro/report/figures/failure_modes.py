"""Failure modes: how the completions of lost prompts fail, by student."""

from typing import Any

from repro.evaluation.failure_modes import MODES
from repro.report.figures.export import Plot
from repro.report.figures.points import describe_points, interval_arms, measured_points
from repro.report.figures.style import Palette, add_legend, drawing, task_panels
from repro.report.merge import Part
from repro.tables.measured_table import MeasuredTable


def failure_modes(part: Part, palette: Palette) -> list[Plot]:
    """Draw the share of completions of lost prompts in each mode."""
    return [_failure_modes(table, palette) for table in part.measured]


def _failure_modes(table: MeasuredTable, palette: Palette) -> Plot:
    rows: list[dict[str, Any]] = []
    students = [row for row in table.rows if any(table.has(row, task, "lost") for task in table.tasks)]
    with drawing(palette):
        figure, axes = task_panels(table.tasks, height=1.2 + 0.3 * len(students))
        for task, axis in zip(table.tasks, axes):
            for offset, (mode, colour) in enumerate(zip(MODES, palette.series)):
                points = measured_points(table, [(row, task, mode) for row in students if table.has(row, task, mode)])
                rows += points
                if points:
                    axis.barh(
                        [students.index(point["row"]) + 0.26 * (offset - 1) for point in points],
                        [point["value"] for point in points],
                        xerr=interval_arms(points),
                        height=0.24,
                        color=colour,
                        ecolor=palette.ink,
                        label=mode.replace("_", "-"),
                    )
            axis.set_yticks(range(len(students)), students)
            axis.set_ylim(len(students) - 0.4, -0.6)
            axis.set_xlim(0, 1.02)
            axis.grid(axis="y", visible=False)
            axis.set_title(task)
        figure.supxlabel("share of the completions of lost prompts", fontsize=10)
        add_legend(figure, *axes)
    return Plot(
        f"failure-modes-{table.family}",
        f"Failure modes by student, {table.family}",
        f"{describe_points(rows)}." if rows else "No student lost enough prompts to tell.",
        figure,
        rows,
        "How students fail on prompts that they solved before: a long bar of one mode would be that student's way to fail.",
    )
