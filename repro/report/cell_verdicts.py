"""Verdicts on printed cells, shown beside measured ones, and the differences a result's cells could detect."""

from collections.abc import Mapping, Sequence

from repro.printed.load import PaperTable
from repro.tables.formatting import cell_metrics
from repro.tables.metric_names import metric_name
from repro.tables.verdicts.verdict_types import CellVerdict, VerdictReport

Judged = Mapping[tuple[str, str, str, str], CellVerdict]
"""(family, row, printed column, metric) -> verdict; empty below paper scale."""


def judged_cells(report: VerdictReport) -> Judged:
    """Index a report's cells."""
    return {(cell.family, cell.row, cell.column, cell.metric): cell for cell in report.cells}


def cell_verdicts(judged: Judged, stored: PaperTable, family: str, row: str, task: str, metric: str) -> list[str]:
    """Return the verdicts on the numbers shown in one cell of a layout, in order; empty if none is printed."""
    column = stored.column_of(task) or task
    cells = (judged.get((family, row, column, name)) for name in cell_metrics(metric))
    return [cell.value for cell in cells if cell is not None]


def format_verdicts(values: Sequence[str]) -> str:
    """Return "inconclusive [reproduced, contradicted]": the main number's verdict, then those of the bracketed ones."""
    first, rest = values[0], values[1:]
    return first + (f" [{', '.join(rest)}]" if rest else "")


def describe_power(report: VerdictReport) -> list[str]:
    """Describe, per metric, which difference its cells could detect."""
    lines = []
    for metric in dict.fromkeys(cell.metric for cell in report.cells):
        cells = [cell for cell in report.cells if cell.metric == metric and cell.detectable is not None]
        sizes = sorted(cell.detectable for cell in cells if cell.detectable is not None)
        if not sizes:
            continue
        confirmable = sum(cell.can_be_reproduced for cell in cells)
        middle = sizes[len(sizes) // 2]
        lines.append(
            f"{metric_name(metric)}, {len(cells)} cells: {confirmable} can be confirmed (our interval fits between the margins)."
            f" If the true value differs from the printed one by {middle:.3g}, four of five such runs call the median cell"
            f" contradicted; the most precise cell needs {sizes[0]:.3g}, the least precise {sizes[-1]:.3g}. Smaller"
            " differences mostly end inconclusive."
        )
    return lines
