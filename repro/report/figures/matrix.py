"""The guard-attack matrix at a glance: a colour and a number per cell."""

from typing import TYPE_CHECKING, Any

from repro.report.figures.export import Plot
from repro.report.figures.guard_strengths import guard_strengths
from repro.report.figures.style import WIDTH, Palette, drawing, panels
from repro.report.matrix import GainCell, broken_by, gain_cells, matrix_of, tried_by, worst_of
from repro.report.merge import Part
from repro.report.result import Matrix
from repro.tables.measured_table import MeasuredTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAINS, LOSSES, INK, PAPER = (0.84, 0.37, 0.0), (0.0, 0.45, 0.70), "#1b1f24", (1.0, 1.0, 1.0)
"""Okabe-Ito vermilion and blue, distinguishable with common colour blindness; text is dark on both tints."""
STRONGEST = 0.65
"""Share of the full colour in the strongest cell, so that dark text stays readable."""

NOTE = (
    "Rows are guards, columns attacks. Orange: the thief's student scores above the one without a teacher; blue: below. ±: half"
    " the 95 % interval; bold: it excludes 0. A dash: the guard does not show what the attack needs, or the cell was not run."
    " Breaks: under how many guards the interval lies above 0, out of those with a gain; the open teacher (none) does not count."
    " Last column: the largest gain in the row."
)


def matrix(part: Part, palette: Palette) -> list[Plot]:
    """Draw each family's matrix, and the guards over their strengths if these vary."""
    sides = matrix_of(part)
    plots = [_matrix(table, sides, n, palette) for n, table in enumerate(part.measured)] if sides else []
    return [*plots, *guard_strengths(part, palette)]


def _matrix(table: MeasuredTable, sides: Matrix, n: int, palette: Palette) -> Plot:
    guards, attacks = ([side["label"] for side in sides[name]] for name in ("guards", "attacks"))
    cells = gain_cells(table, sides)
    most = max((abs(cell.value) for cell in cells.values() if cell.value), default=0.0) or 1.0
    columns = [*attacks, "largest"]
    with drawing(palette):
        figure, (axes,) = panels(1, 1, max(WIDTH, 1.6 + 0.78 * len(columns)), 1.7 + 0.5 * len(guards))
        for y, guard in enumerate(guards):
            for x, attack in enumerate(attacks):
                _draw_cell(axes, x, y, cells.get((guard, attack)), most, palette)
            _draw_cell(axes, len(attacks) + 0.15, y, worst_of(guard, cells), most, palette)
        axes.set_xlim(-0.5, len(columns) - 0.3)
        axes.set_ylim(len(guards) - 0.5, -0.5)
        broken = [f"{attack}\nbreaks {broken_by(attack, cells)} of {tried_by(attack, cells)}" for attack in attacks]
        axes.set_xticks([*range(len(attacks)), len(attacks) + 0.15], [*broken, "largest\ngain"], rotation=35, ha="left")
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(guards)), guards)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
    rows = [
        {"guard": c.guard, "attack": c.attack, "gain": c.value, "low": c.low, "high": c.high, "idle": c.idle}
        for c in cells.values()
    ]
    alt = f"Rows are guards, columns attacks. {'; '.join(map(_in_words, cells.values()))}."
    return Plot(f"matrix-{n}", f"Gain over the student without a teacher, {table.family}", alt, figure, rows, NOTE)


def _draw_cell(axes: "Axes", x: float, y: float, cell: GainCell | None, most: float, palette: Palette) -> None:
    from matplotlib.patches import Rectangle

    if cell is None or cell.value is None:
        text = "idle" if cell is not None else "–"
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=palette.ink)
        return
    strength = STRONGEST * min(1.0, abs(cell.value) / most)
    full = GAINS if cell.value > 0 else LOSSES
    colour = tuple(strength * f + (1 - strength) * p for f, p in zip(full, PAPER))
    style: dict[str, Any] = {"facecolor": colour, "edgecolor": palette.rule, "linewidth": 0.6}
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, **style))
    weight = "bold" if cell.low > 0 or cell.high < 0 else "normal"
    axes.text(x, y - 0.1, f"{cell.value:+.2f}", ha="center", va="center", fontsize=9, color=INK, fontweight=weight)
    half = (cell.high - cell.low) / 2
    axes.text(x, y + 0.24, f"± {half:.2f}", ha="center", va="center", fontsize=7, color=INK)


def _in_words(cell: GainCell) -> str:
    value = "idle" if cell.value is None else f"{cell.value:+.3f} ({cell.low:+.3f} to {cell.high:+.3f})"
    return f"{cell.attack} under {cell.guard}: {value}"
