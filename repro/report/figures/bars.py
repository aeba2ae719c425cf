"""Bars of every row with their intervals, one panel per task, one figure per metric."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from repro.report.figures.export import Plot
from repro.report.figures.knob import is_student, knob_position, line_style
from repro.report.figures.points import measured_points
from repro.report.figures.style import WIDTH, Palette, drawing, panels
from repro.report.merge import Part
from repro.report.text import capitalise, slug
from repro.tables.formatting import layout_metrics, main_metric, printed_at
from repro.tables.measured_table import NON_NEGATIVE_METRICS, MeasuredTable, is_fraction
from repro.tables.metric_names import metric_name, metric_with_id

_HUES = " Blue: eta above 0; orange: below 0; purple: 0; other colours: without the knob."


def _bar_style(row: str, palette: Palette) -> dict[str, Any]:
    return {"color": line_style(row, palette)["color"], "alpha": 0.55 if is_student(row) else 1.0}


def bars(part: Part, palette: Palette) -> list[Plot]:
    """Draw one bar per row with its 95 % interval; at paper scale the printed number is marked.

    A metric of a single row, or that is printed as 0 everywhere, has no figure: the tables show it.
    """
    return [
        _bars(part, table, metric, palette, f"bars-{n}{f'-{slug(metric)}' if metric else ''}")
        for n, table in enumerate(part.measured)
        for metric in layout_metrics(table)
        if _is_worth_drawing(table, metric)
    ]


def _note(rows: Sequence[str]) -> str:
    """Explain the bars: their colours only if some stand for a position of the knob, or for students beside teachers."""
    hues = _HUES if any(knob_position(row) != "untouched" for row in rows) else ""
    pale = " Pale: students." if len({is_student(row) for row in rows}) > 1 else ""
    return f"Bars with their 95 % intervals.{hues}{pale}"


def _is_worth_drawing(table: MeasuredTable, metric: str | None) -> bool:
    cells = [(row, values) for (row, _, m), values in table.values.items() if metric in (None, m)]
    return len({row for row, _ in cells}) > 1 and any(abs(values.means_S().mean()) >= 0.0005 for _, values in cells)


def _bars(part: Part, table: MeasuredTable, metric: str | None, palette: Palette, name: str) -> Plot:
    metrics = {task: metric or main_metric(table, task) for task in table.tasks}
    keys = [(row, task, m) for task, m in metrics.items() for row in table.rows if table.has(row, task, m)]
    points = {(p["row"], p["task"]): p for p in measured_points(table, keys)}
    tasks = [task for task in metrics if any((row, task) in points for row in table.rows)]
    rows = [row for row in table.rows if any((row, task) in points for task in tasks)]
    n_teachers = sum(not is_student(row) for row in rows)
    has_both = "Student" in table.rows and 0 < n_teachers < len(rows) and not any(map(is_student, rows[:n_teachers]))
    mark: dict[str, Any] = {"linestyle": "", "marker": "D", "color": palette.ink, "fillstyle": "none", "markersize": 5}
    columns = min(4, len(tasks))
    has_printed = False
    with drawing(palette):
        figure, axes = panels(
            columns,
            ceil(len(tasks) / columns),
            WIDTH / columns + 0.6,
            1 + 0.24 * len(rows),
            n=len(tasks),
            sharey=True,
        )
        for task, axis in zip(tasks, axes):
            for n, row in enumerate(rows):
                if (row, task) in points:
                    point = points[row, task]
                    axis.barh(n, point["value"], height=0.66, **_bar_style(row, palette))
                    axis.plot([point["low"], point["high"]], (n, n), color=palette.ink, linewidth=1.4)
                    printed = printed_at(part.stored, table.family, row, task, metrics[task])
                    if printed and table.scale == "paper":
                        has_printed = True
                        axis.plot([printed.value], [n], **mark)
            axis.set_title(f"{task} ({metric_name(metrics[task])})" if metric is None else task)
            axis.set_yticks(range(len(rows)), rows)
            axis.set_ylim(len(rows) - 0.4, -0.6)
            if is_fraction(metrics[task]):
                axis.set_xlim(0, 1.02)
                axis.set_xticks(
                    (0, 0.25, 0.5, 0.75, 1), ("0", "0.25", "0.5", "0.75", "1")
                )  # so none runs into the next panel's
            elif metrics[task] in NON_NEGATIVE_METRICS:
                axis.set_xlim(left=0)
            axis.grid(axis="y", visible=False)
        if has_printed:
            handles = axes[0].plot([], [], label="printed in the paper", **mark)
            figure.legend(handles=handles, loc="outside upper left", fontsize=9)
    means = "; ".join(
        f"{task}: "
        + ", ".join(f"{row} {table.mean(row, task, metrics[task]):.2f}" for row in rows if (row, task) in points)
        for task in tasks
    )
    rows_in_words = "teachers (above) and students" if has_both else "rows"
    title = f"{capitalise(metric_with_id(metric) if metric else rows_in_words)} by task, {table.family}"
    if metric and has_both:
        title += f", {rows_in_words}"
    return Plot(name, title, f"Bars with 95 % intervals. {means}.", figure, note=_note(rows))
