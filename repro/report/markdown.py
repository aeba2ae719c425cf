"""report.md: the brief of the same sections, for terminals and diffs; the page has the rest."""

from collections.abc import Sequence

from repro.report.blocks import Block, Cell, Code, Grid, Points, Section, Text, text_cells
from repro.report.merge import Part
from repro.report.text import visible

PAGE = "report.html"


def markdown(parts: Sequence[tuple[Part, str, Sequence[Section]]], page: str = PAGE) -> str:
    """The brief blocks of every section, the notice of a scaled-down run under every heading."""
    lines: list[str] = []
    for part, _, own in parts:
        lines += [f"# {visible(part.title)}", ""]
        for section in own:
            if section.brief:
                lines += [f"## {visible(section.title)}", "", *_notice(part.report.notice)]
                for block in section.brief:
                    lines += [*_block(block), ""]
    lines += [f"Evidence by claim, every number, figures, completions, settings: {page}", ""]
    return "\n".join(lines)


def _notice(notice: str | None) -> list[str]:
    return [f"**{notice[0].upper()}{notice[1:]}.**", ""] if notice else []


def _block(block: Block) -> list[str]:
    match block:
        case Text(text, strong):
            return [f"**{visible(text)}**" if strong else visible(text)]
        case Points(points):
            return [f"- {visible(point)}" for point in points]
        case Code(text):
            return [f"    {line}" for line in visible(text, lines=True).splitlines()]
        case Grid(caption, rows):
            return [f"{visible(caption)}:", "", *_table(rows)]
        case _:
            raise AssertionError(f"{type(block).__name__} has no brief form")


def markdown_table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lines of a Markdown table of plain texts."""
    return _table([text_cells(row) for row in rows])


def _table(rows: Sequence[dict[str, Cell]]) -> list[str]:
    if not rows:
        return ["(nothing)"]
    heads = list(rows[0])
    return [_line(heads), _line(["---"] * len(heads)), *(_line([_cell(row[head]) for head in heads]) for row in rows)]


def _cell(cell: Cell) -> str:
    mark = "▲ " if cell.tone == "warn" else ""
    return f"{mark}{cell.text}{f'; {cell.note}' if cell.note else ''}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(visible(cell).replace("|", "\\|") for cell in cells) + " |"
