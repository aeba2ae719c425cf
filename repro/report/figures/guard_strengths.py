"""Guards at varying strength: what the teacher loses against its worst-case leak."""

from typing import Any

from repro.report.figures.export import Plot
from repro.report.figures.points import interval_arms, label_points
from repro.report.figures.style import MARKS, WIDTH, Palette, add_legend, drawing, panels
from repro.report.matrix import gain_cells, matrix_of, teacher_losses, worst_of
from repro.report.merge import Part
from repro.report.result import Matrix
from repro.tables.guard_metrics import BASELINE
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.decision import interval

Point = dict[str, Any]
"""value, low and high of one guard on one axis."""


def guard_strengths(part: Part, palette: Palette) -> list[Plot]:
    """Draw each family's guards if any of them has two or more strengths."""
    sides = matrix_of(part)
    if sides is None or all(len(labels) == 1 for labels in strengths_of(sides).values()):
        return []
    return [_curves(table, sides, n, palette) for n, table in enumerate(part.measured)]


def strengths_of(sides: Matrix) -> dict[str, list[str]]:
    """Return the labels of each guard's strengths: "knob" -> "knob(strength=-0.3)", "knob(strength=-1.0)"."""
    labels: dict[str, list[str]] = {}
    for side in sides["guards"]:
        labels.setdefault(side["label"].partition("(")[0], []).append(side["label"])
    return labels


def points_of(table: MeasuredTable, sides: Matrix) -> dict[str, tuple[Point, Point]]:
    """Return each guard's utility loss and worst gain, skipping guards that are idle or have no cell."""
    guards = [side["label"] for side in sides["guards"]]
    cells, losses = gain_cells(table, sides), teacher_losses(table, guards)
    points = {}
    for guard in guards:
        worst = worst_of(guard, cells)
        if worst is None or worst.value is None or (guard != BASELINE and guard not in losses):
            continue
        value, (low, high) = (0.0, (0.0, 0.0))
        if guard in losses:
            value, (low, high) = losses[guard].value, interval(losses[guard], 0.05)
        leak = {"attack": worst.attack, "value": worst.value, "low": worst.low, "high": worst.high}
        points[guard] = ({"value": value, "low": low, "high": high}, leak)
    return points


def _curves(table: MeasuredTable, sides: Matrix, n: int, palette: Palette) -> Plot:
    points = points_of(table, sides)
    with drawing(palette):
        figure, (axes,) = panels(1, 1, WIDTH, 4.0)
        axes.axhline(0, color=palette.ink, linewidth=1.2)
        names: list[tuple[str, float, float]] = []
        for number, (name, labels) in enumerate(strengths_of(sides).items()):
            drawn = [(label, *points[label]) for label in labels if label in points]
            utility, leaks = [loss for _, loss, _ in drawn], [leak for *_, leak in drawn]
            mark, line = MARKS[number % len(MARKS)]
            axes.errorbar(
                [loss["value"] for loss in utility],
                [leak["value"] for leak in leaks],
                xerr=interval_arms(utility),
                yerr=interval_arms(leaks),
                color=palette.series[number % len(palette.series)],
                marker=mark,
                linestyle=line,
                linewidth=1.2,
                capsize=3,
                label=name,
            )
            if len(labels) > 1:  # the legend names the others
                names += [(label, loss["value"], leak["value"]) for label, loss, leak in drawn]
        axes.set_xlabel("teacher's score less that of the open teacher")
        axes.set_ylabel("largest gain over no-teacher")
        add_legend(figure, axes)
        label_points(axes, names)
    rows = [
        {"guard": guard, "utility": loss["value"], "worst_attack": leak["attack"], "worst_gain": leak["value"]}
        for guard, (loss, leak) in points.items()
    ]
    in_words = (
        f"{r['guard']}: teacher {r['utility']:+.3f}, largest gain {r['worst_gain']:+.3f} ({r['worst_attack']})"
        for r in rows
    )
    return Plot(
        f"strengths-{n}",
        f"What each guard costs and what it leaks at worst, {table.family}",
        f"A line per guard over its strengths. {'; '.join(in_words)}.",
        figure,
        rows,
        "Down and to the right is better for the owner: a teacher as good as the open one that leaks nothing. The largest gain"
        " is that of the attack that came out highest, so it is, on average, estimated a little too high.",
    )
