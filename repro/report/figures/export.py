"""Export figures: as inline SVG on the page, and as CSV, PNG and SVG in the result's `figures` folder."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.report.blocks import Chart
from repro.report.figures.style import CSS_COLOURS, FILE, PAGE, drawing
from repro.report.text import visible
from repro.system.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"


@dataclass(frozen=True)
class Plot:
    """A figure with its data.

    Attributes:
        name: file name, and the end of its id on the page.
        alt: a description in words.
        rows: a dict per plot point, for the CSV file.
        note: a sentence that says what to look for.
        fits_phone: narrow enough to be scaled down rather than scrolled.
    """

    name: str
    title: str
    alt: str
    figure: "Figure"
    rows: Sequence[dict[str, Any]] = field(default=())
    note: str = ""
    fits_phone: bool = False


def inline_chart(plot: Plot, key: str) -> Chart:
    """Turn a figure in the page's palette into inline SVG: its text is text, its colours are CSS variables.

    Args:
        key: prefix that makes the ids of the SVG unique on the page.
    """
    key = f"{key}-{plot.name}"
    stream = io.StringIO()
    with drawing(PAGE):  # rcParams at the time of saving decide how text is written
        _lay_out(plot.figure)
        plot.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = visible(stream.getvalue(), lines=True)
    svg = svg[svg.index("<svg") :]
    # Metadata is of no use inside a page, and a style element there would style the entire page.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    for colour, variable in CSS_COLOURS.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{key}-", svg)
    svg = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1sans-serif", svg)
    width, height = (72 * inches for inches in plot.figure.get_size_inches())
    fits = ' class="fits"' if plot.fits_phone else ""
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-labelledby="{key}-title {key}-alt"{fits} style="width:{width:g}pt"><title id="{key}-title">'
        f'{escape(visible(plot.title))}</title><desc id="{key}-alt">{escape(visible(plot.alt))}</desc>'
    )
    return Chart(plot.title, plot.alt, re.sub(r"^<svg[^>]*>", lambda _: head, svg), plot.note)


def _lay_out(figure: "Figure") -> None:
    """Lay a figure out for SVG and freeze the layout: `savefig` would otherwise draw everything once just for that."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    engine = figure.get_layout_engine()
    if engine is not None:
        FigureCanvasSVG(figure)  # to measure its letters
        engine.execute(figure)
        figure.set_layout_engine(None)


def save_figure(plot: Plot, folder: Path) -> list[Path]:
    """Write a figure in the palette of files below `folder`/figures, each file atomically; return the paths."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    table, svg, png = (folder / FOLDER / f"{plot.name}.{suffix}" for suffix in ("csv", "svg", "png"))
    with atomic_write(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in plot.rows for name in row)))
        writer.writeheader()
        writer.writerows(plot.rows)
    for path, metadata in ((svg, {"Date": None}), (png, None)):
        with atomic_write(path) as temporary, drawing(FILE):
            suffix = path.suffix[1:]
            plot.figure.savefig(temporary, format=suffix, dpi=150, facecolor="white", metadata=metadata)
    return [table, png, svg]
