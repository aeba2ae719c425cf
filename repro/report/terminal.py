"""A result on the terminal: the verdicts, the measured table, and what to read next."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from repro.tables import MeasuredTable
from repro.tables.outcome import VerdictReport
from repro.tables.render import measured_rows, verdict_rows

_COLOURS = {"reproduced": "green", "contradicted": "red", "inconclusive": "yellow"}
_SHOWN = ("claim", "statement", "verdict", "difference", "interval", "in the paper")


def print_result(measured: Sequence[MeasuredTable], report: VerdictReport, console: Console) -> None:
    """Measured table of each family, then one line per claim, then the notice of a scaled-down run."""
    for table in measured:
        console.print(_grid(measured_rows(table), f"{table.study}, {table.family}: acc or reward ± 95 % [maj, pass]"))
    several = len(report.families) > 1
    rows = [{k: row[k] for k in (*(("family",) if several else ()), *_SHOWN)} for row in verdict_rows(report)]
    for row in rows:
        colour = _COLOURS[row["verdict"]]
        row["verdict"] = f"[{colour}]{row['verdict']}[/{colour}]"
    console.print(_grid(rows, "Verdicts"))
    counts = {value: sum(v.value == value for v in report.claims) for value in _COLOURS}
    console.print(", ".join(f"{n} {value}" for value, n in counts.items()), highlight=False)
    if report.notice:
        console.print(f"[bold]{report.notice}[/bold]")


def _grid(rows: list[dict[str, str]], title: str) -> Table:
    grid = Table(title=title, title_justify="left")
    for head in rows[0]:
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*(row.get(head, "").replace("[", "\\[") if head != "verdict" else row[head] for head in rows[0]))
    return grid
