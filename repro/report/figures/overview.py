"""Each row's accuracy averaged over verifiable tasks: a study's outcome in one picture."""

from repro.report.figures.export import Plot
from repro.report.figures.style import WIDTH, Palette, drawing, panels
from repro.report.merge import Part
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples

METRIC = "acc"


def overview(part: Part, palette: Palette) -> Plot:
    """Draw a bar per row of the first family, with its 95 % interval; teachers above the untouched student."""
    table = part.measured[0]
    points = _mean_accuracy(table)
    rows = list(points)
    n_teachers = rows.index("Student") if "Student" in rows else 0
    with drawing(palette):
        figure, (axes,) = panels(1, 1, WIDTH, 0.7 + 0.26 * len(rows))
        for n, (value, half) in enumerate(points.values()):
            axes.barh(n, value, height=0.66, color=palette.series[0 if n < n_teachers else 1])
            axes.plot([max(0, value - half), min(1, value + half)], (n, n), color=palette.ink, linewidth=1.4)
            axes.text(1.02, n, f"{value:.2f}", va="center", fontsize=9)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("accuracy, mean over tasks with right answers, 95 % interval")
        axes.grid(axis="y", visible=False)
    seeds = f"{len(table.seeds)} seed{'s' if len(table.seeds) > 1 else ''}"
    title = f"{part.name}, {table.family}, {seeds}: teachers above, students below"
    means = ", ".join(f"{row} {value:.2f}" for row, (value, _) in points.items())
    data = [{"row": row, "value": value, "half": half} for row, (value, half) in points.items()]
    return Plot("overview", title, f"Bars of mean accuracy: {means}.", figure, data)


def _mean_accuracy(table: MeasuredTable) -> dict[str, tuple[float, float]]:
    """Return row -> mean over tasks, and half the width of its interval (items and seeds resampled together)."""
    tasks = [task for task in table.tasks if any(table.has(row, task, METRIC) for row in table.rows)]
    rows = [row for row in table.rows if all(table.has(row, task, METRIC) for task in tasks)]
    resamples = Resamples(table, [(row, task, METRIC) for row in rows for task in tasks], 2_000, 0)
    points = {}
    for row in rows:
        estimate = resamples.estimate({(row, task, METRIC): 1 / len(tasks) for task in tasks})
        points[row] = (estimate.value, half_width(estimate, 0.05))
    return points
