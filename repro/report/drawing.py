"""A matplotlib figure as an inline SVG element: its text is text, its colours are the page's, light and dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from repro.report.blocks import Chart
from repro.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stand for a CSS variable of the page; matplotlib knows no variables.
INK, RULE = "#010101", "#010102"
TONES = {"reproduced": "#010201", "contradicted": "#010202", "inconclusive": "#010203"}
SERIES = tuple(f"#0103{n:02x}" for n in range(1, 9))
_VARIABLES = {
    INK: "currentColor",
    RULE: "var(--rule)",
    **{colour: f"var(--{tone})" for tone, colour in TONES.items()},
    **{colour: f"var(--series-{n})" for n, colour in enumerate(SERIES, 1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "repro",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "text.parse_math": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib in the page's style."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def panels(
    columns: int, rows: int, width: float, height: float, *, sharex: bool = False, sharey: bool = False
) -> "tuple[Figure, list[Axes]]":
    """A figure of equal panels, row by row, without pyplot's global state. width, height: of one panel, inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, list(axes.flat)


def chart(figure: "Figure", key: str, title: str, alt: str) -> Chart:
    """The figure as a block. key: makes its ids its own on the page."""
    stream = io.StringIO()
    with drawing():  # how text is written is decided here, not where it is drawn
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = visible(stream.getvalue(), lines=True)
    svg = svg[svg.index("<svg") :]
    # Metadata is of no use inside a page, and a style element there would style the whole page.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{key}-", svg)
    svg = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1sans-serif", svg)
    width, height = (72 * inches for inches in figure.get_size_inches())
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-labelledby="{key}-title {key}-alt" style="width:{width:g}pt">'
        f'<title id="{key}-title">{escape(visible(title))}</title><desc id="{key}-alt">{escape(visible(alt))}</desc>'
    )
    return Chart(title, alt, re.sub(r"^<svg[^>]*>", lambda _: head, svg))
