"""Bars of every row with their intervals, one panel per task (Figure 3's kind), one picture per metric."""

from math import ceil
from typing import Any

from repro.report.blocks import Chart
from repro.report.drawing import INK, SERIES, chart, drawing, panels
from repro.report.merge import Part
from repro.report.text import slug
from repro.tables.formatting import layout_metrics, main_metric, printed_at
from repro.tables.measured_table import FRACTION_METRICS, MeasuredTable
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples

_PRINTED: dict[str, Any] = {"linestyle": "", "marker": "D", "color": INK, "fillstyle": "none", "markersize": 5}


def bars(part: Part, key: str) -> list[Chart]:
    """One panel per task, one bar per row with its 95 % interval; at paper scale the printed number is marked."""
    return [
        _bars(part, table, metric, f"{key}-bars-{n}{f'-{slug(metric)}' if metric else ''}")
        for n, table in enumerate(part.measured)
        for metric in layout_metrics(table)
    ]


def _bars(part: Part, table: MeasuredTable, metric: str | None, key: str) -> Chart:
    shown = {task: metric or main_metric(table, task) for task in table.tasks}
    keys = {
        (row, task): (row, task, own) for task, own in shown.items() for row in table.rows if table.has(row, task, own)
    }
    tasks = [task for task in shown if any((row, task) in keys for row in table.rows)]
    rows = [row for row in table.rows if any((row, task) in keys for task in tasks)]
    draws = Resamples(table, keys.values(), 2_000, 0)
    columns = min(4, len(tasks))
    with drawing():
        figure, axes = panels(
            columns, ceil(len(tasks) / columns), 7.6 / columns + 0.6, 1 + 0.24 * len(rows), sharey=True
        )
        for task, own in zip(tasks, axes):
            for n, row in enumerate(rows):
                if (row, task) in keys:
                    estimate = draws.estimate({keys[row, task]: 1.0})
                    half = half_width(estimate, 0.05)
                    own.barh(n, estimate.value, height=0.66, color=SERIES[0 if n < _teachers(table) else 1])
                    own.plot([estimate.value - half, estimate.value + half], (n, n), color=INK, linewidth=1.4)
                    printed = printed_at(part.stored, table.family, *keys[row, task])
                    if printed and table.scale == "paper":
                        own.plot([printed.value], [n], **_PRINTED)
            own.set_title(f"{task} ({shown[task]})")
            own.set_yticks(range(len(rows)), rows)
            own.set_ylim(len(rows) - 0.4, -0.6)
            if shown[task] in FRACTION_METRICS:
                own.set_xlim(0, 1.02)
            own.grid(axis="y", visible=False)
        for spare in axes[len(tasks) :]:
            spare.remove()
        if table.scale == "paper":
            mark = axes[0].plot([], [], label="printed in the paper", **_PRINTED)
            figure.legend(handles=mark, loc="outside upper left", fontsize=9)
    best = "; ".join(
        f"{task}: "
        + ", ".join(f"{row} {table.mean(*keys[row, task]):.2f}" for row in table.rows if (row, task) in keys)
        for task in tasks
    )
    title = f"{'Teachers (above) and students' if _teachers(table) else metric or 'Rows'} by task, {table.family}"
    return chart(figure, key, title, f"Bars with 95 % intervals. {best}.")


def _teachers(table: MeasuredTable) -> int:
    """How many rows come before the untouched student: the teachers."""
    return table.rows.index("Student") if "Student" in table.rows else 0
