"""A result on the terminal: the measured table, the verdicts, and the notice of a scaled-down run."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from repro.printed.claims import Claim, Role
from repro.printed.load import load
from repro.report.cell_verdicts import cell_verdicts, describe_power, format_verdicts, judged_cells
from repro.report.conclusions import conclude
from repro.report.incomplete import describe_missing
from repro.report.result import Matrix, MissingRow
from repro.report.sections.findings import ONE_SEED_SCOPE, is_of_one_training
from repro.report.sections.verdicts import ROLES
from repro.report.style_line import StyleLine
from repro.tables.formatting import layout_metrics, layout_title, main_metric, measured_rows, printed_cell
from repro.tables.measured_table import MeasuredTable
from repro.tables.own_claims import describe_unjudged
from repro.tables.verdicts.sentences import describe_estimate_along_eta
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport, reason_untested

_COLOURS = {"reproduced": "green", "contradicted": "red", "inconclusive": "yellow", "not testable": "cyan"}


NEVER_FOLDED = ("measure",)
"""Columns whose cells are names, which the others make room for."""


def print_result(
    measured: Sequence[MeasuredTable],
    report: VerdictReport,
    console: Console,
    styles: Sequence[StyleLine] = (),
    sides: Matrix | None = None,
    own_claims: Sequence[Claim] = (),
    missing: Sequence[MissingRow] = (),
) -> None:
    """Print the measured table of each family, one line per claim, and last what was found; report.md has the sentences.

    Args:
        styles: how the models answer (`repro.report.styles`).
        sides: guards and attacks of a study that has a matrix of them.
        own_claims: the user's: those that were not judged are named.
        missing: rows of an incomplete result that have no numbers.
    """
    for table in measured:
        for metric in layout_metrics(table):
            rows = measured_rows(table, metric=metric)
            if report.cells:
                _add_cell_verdicts(rows, table, report, metric)
            for row in rows:
                row["row"] += " (idle)" if row["row"] in table.idle else ""
            console.print(text_table(rows, layout_title(table, metric)))
    for line in describe_power(report):
        console.print(line, highlight=False, markup=False)
    for role, title in ROLES.items():
        if report.of_role(role):
            console.print(text_table(_verdicts(report, role), title))
    for line in describe_unjudged(own_claims, report, measured):
        console.print(line, style="yellow", highlight=False, markup=False)
    console.print("\n[bold]What was found[/bold]")
    for line in describe_missing(missing):
        console.print(f"- {line}", style="red", highlight=False, markup=False)
    if is_of_one_training(report):
        console.print(f"- {ONE_SEED_SCOPE}", highlight=False, markup=False)
    for line in conclude(report, measured, styles, sides):
        console.print(f"- {line}", highlight=False, markup=False)
    if report.notice:
        console.print(f"[bold]{report.notice}[/bold]")


def _add_cell_verdicts(
    rows: list[dict[str, str]], table: MeasuredTable, report: VerdictReport, metric: str | None
) -> None:
    """Put the paper's number and the verdict on it beside each measured cell."""
    stored, judged = load(report.study), judged_cells(report)
    for row in rows:
        for task in (head for head in row if head != "row"):
            name = metric or main_metric(table, task)
            if values := cell_verdicts(judged, stored, table.family, row["row"], task, name):
                printed = printed_cell(stored, table.family, row["row"], task, name)
                row[task] += f"\npaper {printed}: {format_verdicts(values)}"


def text_table(rows: Sequence[dict[str, str]], title: str) -> Table:
    """Make a terminal table; verdicts are coloured. Brackets are text: rich would take "[maj@16]" for a style and print nothing."""
    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in rows[0] if rows else ():
        table.add_column(escape(head), overflow="fold", no_wrap=head in NEVER_FOLDED)
    for row in rows:
        table.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row.values()))
    return table


def _estimate_along_eta(v: ClaimVerdict) -> str:
    meaning = describe_estimate_along_eta(v.kind, v.rival) if v.estimate is not None else ""
    return f" ({meaning})" if meaning else ""


def _verdicts(report: VerdictReport, role: Role) -> list[dict[str, str]]:
    """Lay out one row per claim. in the paper: how many of its own printed comparisons support it, if it prints any."""
    several = len(report.families) > 1
    verdicts = report.of_role(role)
    is_printed = any(v.paper_of for v in verdicts)
    return [
        {
            "verdict": v.value,
            "statement": f"{v.statement}{f' ({v.family})' if several else ''}{_estimate_along_eta(v)}",
            "difference [interval]": f"{v.estimate:+.3f} [{v.interval[0]:+.3f}, {v.interval[1]:+.3f}]"
            if v.estimate is not None and v.interval is not None
            else reason_untested(v),
            **({"in the paper": f"{v.paper_held} of {v.paper_of}" if v.paper_of else "-"} if is_printed else {}),
        }
        for v in verdicts
    ]
