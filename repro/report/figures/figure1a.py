"""Figure 1a: each student's gain against its teacher's accuracy."""

import itertools
from typing import Any

from repro.recipes.labels import student_of
from repro.report.figures.export import Plot
from repro.report.figures.knob import knob_position, line_style
from repro.report.figures.points import interval_arms, measured_points
from repro.report.figures.style import Palette, add_legend, drawing, task_panels
from repro.report.merge import Part
from repro.tables.formatting import main_metric
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import metric_name


def figure1a(part: Part, palette: Palette) -> list[Plot]:
    """Draw gain against accuracy; a teacher's area grows with its number of parameters."""
    sizes: dict[str, dict[str, float | None]] = {}
    for source in part.sources:
        sizes |= source.content.get("extras", {}).get("parameters", {})
    measured = [table for table in part.measured if "Student" in table.rows]  # what the others gain upon
    return [_figure1a(table, sizes.get(table.family, {}), palette) for table in measured]


def _figure1a(table: MeasuredTable, sizes: dict[str, float | None], palette: Palette) -> Plot:
    teachers = [row for row in table.rows if student_of(row) in table.rows]
    smallest = min((size for size in sizes.values() if size), default=1.0)
    rows: list[dict[str, Any]] = []
    with drawing(palette):
        figure, axes = task_panels(table.tasks)
        for task, axis in zip(table.tasks, axes):
            further = ({"color": palette.series[index], "marker": "o"} for index in itertools.cycle((5, 3, 7, 6, 2)))
            metric = main_metric(table, task)
            axis.axhline(0, color=palette.ink, linewidth=0.8)
            axis.axvline(table.mean("Student", task, metric), color=palette.ink, linewidth=0.8, linestyle=":")
            for teacher in teachers:
                style = line_style(teacher, palette) | ({} if knob_position(teacher) != "untouched" else next(further))
                (point,) = measured_points(table, [(student_of(teacher), task, "gain")])
                size = sizes.get(teacher)
                accuracy = table.mean(teacher, task, metric)
                rows.append({**point, "teacher": teacher, "teacher_accuracy": accuracy, "teacher_parameters": size})
                axis.errorbar(
                    [accuracy], [point["value"]], yerr=interval_arms([point]), color=style["color"], capsize=3
                )
                area = min(18 * (size / smallest) ** 0.5, 400) if size else 40
                axis.scatter(
                    [accuracy], [point["value"]], s=area, color=style["color"], marker=style["marker"], label=teacher
                )
            axis.set_title(f"{task}: dotted, the student's own")
            axis.set_xlabel(f"teacher's {metric_name(metric)}")
            axis.set_ylabel("student's gain")
        add_legend(figure, *axes)
    gains = "; ".join(
        f"{r['task']}, {r['teacher']} ({_size(r['teacher_parameters'])}, {r['teacher_accuracy']:.2f}): {r['value']:+.3f}"
        for r in rows
    )
    return Plot(
        f"figure1a-{table.family}",
        f"Student's gain by teacher, {table.family}",
        f"Teacher (parameters, accuracy): its student's gain. {gains}.",
        figure,
        rows,
        "If a better teacher (to the right) made a better student, the points would rise from left to right.",
    )


def _size(parameters: float | None) -> str:
    return "size unknown" if not parameters else f"{parameters:.3g}"
