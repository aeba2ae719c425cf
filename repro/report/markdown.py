"""report.md: the brief of the same sections, for terminals and diffs; the page has the rest."""

from collections.abc import Iterable, Sequence

from repro.report.blocks import Block, Bullets, Cell, Code, Grid, Section, Text
from repro.report.html import PAGE_FILE, overview
from repro.report.merge import Part
from repro.report.text import sentence, visible

NOTICED = ("What was found", "Verdicts", "Measured")
"""Beginnings of the headings under which a scaled-down run is said to be one."""


LAST_LINE = "Evidence by claim, every number, figures, completions, settings: "
"""Begins the last line of a brief: by it the command knows what it may replace."""


def markdown(parts: Sequence[tuple[Part, str, Sequence[Section]]], page: str = PAGE_FILE) -> str:
    """Write the brief blocks of every section; the notice of a scaled-down run stands under the first and the numbers."""
    lines: list[str] = []
    if len(parts) > 1:
        table = overview([part for part, _, _ in parts], [key for _, key, _ in parts])
        lines += ["# All studies", "", *markdown_lines([table])]
    for part, _, sections in parts:
        lines += [f"# {visible(part.title)}", ""]
        notice = [Text(sentence(part.report.notice), strong=True)] if part.report.notice else []
        for section in sections:
            if section.brief:
                warned = notice if section.title.startswith(NOTICED) else []
                lines += [f"## {visible(section.title)}", "", *markdown_lines([*warned, *section.brief])]
    lines += [f"{LAST_LINE}{page}", ""]
    return "\n".join(lines)


def markdown_lines(blocks: Iterable[Block]) -> list[str]:
    """Write blocks as lines, with an empty line after each block."""
    return [line for block in blocks for line in (*_block(block), "")]


def _block(block: Block) -> list[str]:
    match block:
        case Text(text, strong):
            return [f"**{visible(text)}**" if strong else visible(text)]
        case Bullets(items):
            return [f"- {visible(item)}" for item in items]
        case Code(text):
            return [f"    {line}" for line in visible(text, lines=True).splitlines()]
        case Grid(caption, rows):
            return [*([f"{visible(caption)}:", ""] if caption else []), *_table(rows)]
        case _:
            raise AssertionError(f"{type(block).__name__} has no brief form")


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
