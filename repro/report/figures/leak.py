"""What each rung gives away, at a glance: one mark per guard on each rung."""

from textwrap import fill
from typing import Any

from repro.report.figures.export import Plot
from repro.report.figures.style import MARKS, WIDTH, Palette, add_legend, drawing, panels
from repro.report.leak import Step, leak_of, steps_of
from repro.report.matrix import matrix_of
from repro.report.merge import Part
from repro.report.result import Leak, Matrix
from repro.tables.measured_table import MeasuredTable

_ABREAST = 96
"""Characters of labels, each as wide as the widest, that fit side by side below the figure."""


def leak(part: Part, palette: Palette) -> list[Plot]:
    """Draw the rungs of each family."""
    sides, facts = matrix_of(part), leak_of(part)
    if sides is None or facts is None:
        return []
    return [_rungs(table, sides, facts, n, palette) for n, table in enumerate(part.measured)]


def _rungs(table: MeasuredTable, sides: Matrix, facts: Leak, n: int, palette: Palette) -> Plot:
    steps = steps_of(table, sides, facts)
    rungs = facts["rungs"]
    with drawing(palette):
        figure, (axes,) = panels(1, 1, WIDTH, 3.9)
        axes.axhline(0, color=palette.ink, linewidth=1.2)
        for number, (guard, of_guard) in enumerate(steps.items()):
            shift = min(0.15, 0.8 / len(steps)) * (number - (len(steps) - 1) / 2)
            gains = [(x + shift, step.gain) for x, step in enumerate(of_guard) if step.gain is not None]
            points = [(x, gain.value, gain.low, gain.high) for x, gain in gains if gain.value is not None]
            mark, _ = MARKS[number % len(MARKS)]
            axes.errorbar(
                [x for x, *_ in points],
                [value for _, value, _, _ in points],
                yerr=([v - low for _, v, low, _ in points], [high - v for _, v, _, high in points]),
                color=palette.series[number % len(palette.series)],
                marker=mark,
                linestyle="",  # attacks are no scale: nothing lies between two of them
                elinewidth=1.2,
                capsize=3,
                label=guard,
            )
        labels = [f"{fill(rung['rung'], 11)}\n{rung['attack']}" for rung in rungs]
        is_narrow = (
            len(rungs) * max((len(line) for label in labels for line in label.splitlines()), default=0) > _ABREAST
        )
        slanted: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if is_narrow else {}
        axes.set_xticks(range(len(rungs)), labels, fontsize=9, **slanted)
        axes.set_xlim(-0.5, len(rungs) - 0.5)
        axes.set_ylabel("gain in accuracy or reward\nover no teacher")
        add_legend(figure, axes)
    rows = [_row(guard, step) for guard, of_guard in steps.items() for step in of_guard]
    alt = f"Rungs from left to right, a mark per guard. {'; '.join(map(_in_words, rows))}."
    note = (
        "Bars: 95 % intervals. Entirely above zero, the thief surely has something from the teacher. Without a point, the guard"
        " does not show the rung, or there is no gain to show (idle, or not run)."
    )
    return Plot(f"leak-{n}", f"What each rung gives away, {table.family}", alt, figure, rows, note)


def _row(guard: str, step: Step) -> dict[str, object]:
    gain = step.gain
    numbers = (None, None, None) if gain is None or gain.value is None else (gain.value, gain.low, gain.high)
    return {
        "guard": guard,
        "rung": step.rung,
        "attack": step.attack,
        **dict(zip(("gain", "low", "high"), numbers)),
        "per_1000_queries": step.per_1000[0] if step.per_1000 else None,
        "queries": step.queries,
    }


def _in_words(row: dict[str, object]) -> str:
    value = "no gain shown" if row["gain"] is None else f"{row['gain']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{row['rung']} ({row['attack']}) under {row['guard']}: {value}"
