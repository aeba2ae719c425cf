"""Building blocks of a page: sections are built from these once, and `html` and `markdown` render them.

All text here is plain; the renderers escape it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from repro.report.result import Example


@dataclass(frozen=True)
class Cell:
    """A cell of a grid.

    Attributes:
        note: a second, smaller line.
        tone: a verdict, "warn", or nothing; determines how the cell stands out (never by colour alone).
        value: the sort key of the column: the number at full precision.
        link: id of a block on the same page to link to.
    """

    text: str
    note: str = ""
    tone: str = ""
    value: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph. strong: a notice."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """A command to copy."""

    text: str


@dataclass(frozen=True)
class Quote:
    """A sentence of the paper."""

    text: str
    source: str


@dataclass(frozen=True)
class Grid:
    """A table: column heads -> cells; the first column names the row.

    Missing cells read "not run": in an incomplete result, rows may have different cells.
    """

    caption: str
    rows: Sequence[dict[str, Cell]]

    def __post_init__(self) -> None:
        heads = dict.fromkeys(head for row in self.rows for head in row)
        object.__setattr__(
            self, "rows", [{head: row.get(head, Cell("not run")) for head in heads} for row in self.rows]
        )


@dataclass(frozen=True)
class Chart:
    """A figure. svg: an inline element, trusted because it is made here; alt: a description; note: what to look for."""

    title: str
    alt: str
    svg: str
    note: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Completions of one prompt, side by side."""

    example: Example


@dataclass(frozen=True)
class Collapsible:
    """Blocks hidden behind a summary line. id: target of links."""

    summary: str
    blocks: Sequence["Block"]
    id: str
    tone: str = ""


Block = Text | Bullets | Code | Quote | Grid | Chart | SideBySide | Collapsible


@dataclass(frozen=True)
class Section:
    """A heading and its blocks. brief: the blocks shown in report.md; the page shows `blocks`."""

    id: str
    title: str
    blocks: Sequence[Block]
    brief: Sequence[Block] = field(default=())


def text_cells(row: dict[str, str]) -> dict[str, Cell]:
    """Turn plain texts into cells."""
    return {head: Cell(text) for head, text in row.items()}


def number_cell(value: float | None, spec: str, note: str = "", missing: str = "") -> Cell:
    """Format a number into a cell. missing: the text for None."""
    return Cell(missing if value is None else format(value, spec), note, value=value)


def p_cell(p: float | None) -> Cell:
    """Format a p value; below 0.001 only as a bound."""
    return Cell("< 0.001", value=p) if p is not None and p < 0.001 else number_cell(p, ".2g")


def signed(value: float, digits: int = 3) -> str:
    """Format a number with its sign; numbers that round to zero get no minus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def signed_cell(value: float, low: float, high: float, digits: int = 3, note: str = "") -> Cell:
    """Show a difference, and below it its interval and a note."""
    return Cell(signed(value, digits), f"{signed(low, digits)} to {signed(high, digits)}{note}", "", value)


def text_grid(caption: str, rows: Sequence[dict[str, str]]) -> Grid:
    """Make a grid of plain texts."""
    return Grid(caption, [text_cells(row) for row in rows])
