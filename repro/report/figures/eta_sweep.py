"""The eta sweep: teacher kept against student lost, and every curve along eta."""

from repro.report.figures.export import Plot
from repro.report.figures.points import label_points
from repro.report.figures.style import WIDTH, Palette, drawing, panels
from repro.report.merge import Part
from repro.tables.measured_table import MeasuredTable
from repro.tables.verdicts.eta_curves import CURVES, curve_points, has_curves

_STUDENTS = CURVES[1:3]
_PANELS = {
    "accuracy or reward": CURVES[0:3],
    CURVES[3].title: CURVES[3:4],
    CURVES[4].title: CURVES[4:5],
    "completion length (tokens)": CURVES[5:8],
}

PARETO = "A guard that works is at the lower right: the teacher (horizontal axis) loses nothing, the student (vertical axis) loses much."
ZERO_NOTE = "Compare with eta = 0: what its student loses or gains is not due to r_cal."
ETA_NOTE = f"A number is the eta of that point of {_STUDENTS[0].name}; the other student of the same teacher is straight above or below."
CURVE_NOTE = "A rise or fall over many values of eta speaks for an effect of eta; a jump at a single value may be an accident of its training."
_MARKS = (("o", "-"), ("v", "--"), ("P", ":"))


def eta_curves(part: Part, palette: Palette) -> list[Plot]:
    """Draw the Pareto picture and the curves of each family."""
    return [
        draw(table, n, palette)
        for n, table in enumerate(part.measured)
        if has_curves(table)
        for draw in (_pareto, _curves)
    ]


def _pareto(table: MeasuredTable, n: int, palette: Palette) -> Plot:
    teachers = {point.eta: point for point in curve_points(table, CURVES[0], against="Teacher")}
    lines = []
    with drawing(palette):
        figure, (axes,) = panels(1, 1, WIDTH, 4.2)
        for curve, colour, (marker, line) in zip(_STUDENTS, palette.series, _MARKS[1:]):
            changes = curve_points(table, curve, against="Student")
            points = [(teachers[change.eta], change) for change in changes if change.eta in teachers]
            xs, ys = [teacher.value for teacher, _ in points], [student.value for _, student in points]
            axes.plot(xs, ys, color=colour, marker=marker, linestyle=line, label=curve.name)
            for teacher, student in points:
                axes.plot([teacher.value, teacher.value], [student.low, student.high], color=colour, linewidth=0.8)
                axes.plot([teacher.low, teacher.high], [student.value, student.value], color=colour, linewidth=0.8)
                at = (teacher.value, student.value)
                lines.append(f"{curve.name} at eta {student.eta:+g}: teacher {at[0]:+.2f}, student {at[1]:+.2f}")
        axes.axhline(0, color=palette.ink, linewidth=0.8)
        axes.axvline(0, color=palette.ink, linewidth=0.8)
        axes.set_xlabel("teacher, change against the untouched teacher")
        axes.set_ylabel("student, change against the untouched student")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
        first = curve_points(table, _STUDENTS[0], against="Student")
        shown = [point for point in first if point.eta in teachers]
        label_points(axes, [(f"{point.eta:+g}", teachers[point.eta].value, point.value) for point in shown])
    note = f"{PARETO} {ZERO_NOTE} {ETA_NOTE}" if 0 in teachers else f"{PARETO} {ETA_NOTE}"
    alt = f"Each point is one eta, with 95 % intervals. {'; '.join(lines)}."
    return Plot(f"pareto-{n}", f"Teacher kept against student lost, {table.family}", alt, figure, note=note)


def _curves(table: MeasuredTable, n: int, palette: Palette) -> Plot:
    lines = []
    with drawing(palette):
        figure, axes = panels(2, 2, WIDTH / 2, 2.6)
        for axis, (title, curves) in zip(axes, _PANELS.items()):
            for curve, colour, (marker, line) in zip(curves, palette.series, _MARKS):
                points = curve_points(table, curve)
                etas = [p.eta for p in points]
                values = [p.value for p in points]
                axis.plot(etas, values, color=colour, marker=marker, linestyle=line, markersize=4, label=curve.name)
                axis.vlines(etas, [p.low for p in points], [p.high for p in points], color=colour, linewidth=1)
                lines.append(f"{curve.title}: {', '.join(f'{p.eta:+g} {p.value:.2f}' for p in points)}")
            axis.axvline(0, color=palette.ink, linewidth=0.6)
            axis.set_title(title)
            axis.set_xlabel("eta")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=9)
    alt = f"Means over tasks, 95 % intervals. {'; '.join(lines)}."
    return Plot(f"eta-{n}", f"Along eta, {table.family}", alt, figure, note=CURVE_NOTE)
