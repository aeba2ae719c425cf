"""The shared style of all figures, in page or file colours."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.6
"""Width of the page's text, inches."""
PHONE_WIDTH = 5.0
"""Inches: on a phone, such a figure's text is scaled to two thirds, which is still readable."""


MARKS = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", "--"), ("P", "-."), ("X", ":"))
"""A marker and line style per series, so they can be distinguished without colour."""


@dataclass(frozen=True)
class Palette:
    """The colours of a figure. ink: text and reference lines; rule: axes and grid; series: one per line or bar."""

    ink: str
    rule: str
    series: tuple[str, ...]


PAGE = Palette("#010101", "#010102", tuple(f"#0103{n:02x}" for n in range(1, 9)))
"""Stand-ins for the CSS variables of the page, light and dark: matplotlib knows no variables."""
FILE = Palette(
    ink="#1b1f24",
    rule="#d5dae0",
    series=("#2f6fb5", "#d2842a", "#2b8c6b", "#b0467f", "#6f58b8", "#8a6d1d", "#3d8fa5", "#7a7f87"),
)
TONES = {"reproduced": "#010201", "contradicted": "#010202", "inconclusive": "#010203", "not testable": "#010204"}
"""Stand-ins for the page's colours of the verdicts."""
CSS_COLOURS = {
    PAGE.ink: "currentColor",
    PAGE.rule: "var(--rule)",
    **{colour: f"var(--{tone.replace(' ', '-')})" for tone, colour in TONES.items()},
    **{colour: f"var(--series-{n})" for n, colour in enumerate(PAGE.series, 1)},
}


@contextmanager
def drawing(palette: Palette) -> Iterator[None]:
    """Apply the report's matplotlib style within the context."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "repro",
        "font.size": 10,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.rule,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": palette.rule,
        "grid.linewidth": 0.6,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings):
        yield


def panels(
    columns: int,
    rows: int,
    width: float,
    height: float,
    *,
    n: int | None = None,
    sharex: bool | Literal["row"] = False,
    sharey: bool = False,
) -> "tuple[Figure, list[Axes]]":
    """Make a figure of equal panels, row by row, without pyplot's global state.

    Args:
        width, height: of one panel, inches.
        n: number of panels used; surplus ones are removed. Default: all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).flat)
    for spare in axes[n:] if n is not None else ():
        spare.remove()
    return figure, axes[:n]


def task_panels(tasks: tuple[str, ...], height: float = 3.0) -> "tuple[Figure, list[Axes]]":
    """Make a figure with one panel per task, at most three in a row."""
    columns = min(3, len(tasks))
    return panels(columns, ceil(len(tasks) / columns), WIDTH / columns + 0.8, height, n=len(tasks))


def set_log_scale(axes: "Axes", name: Literal["x", "y"], ticks: tuple[int, ...]) -> None:
    """Make an axis logarithmic, with labels at these multiples of powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter("{x:.0e}")  # the default is TeX, which this style does not parse
    axis.set_minor_locator(NullLocator())


def add_legend(figure: "Figure", *axes: "Axes") -> None:
    """Add one legend for these panels above the figure, each label once: the first panel may lack some."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside upper left", ncols=4, fontsize=9)
