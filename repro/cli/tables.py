"""`repro tables ...`: show, export and check the numbers that the paper printed."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from repro.cli.console import full_width, out_console

tables_app = typer.Typer(help="The paper's printed numbers and claims: show, export, check.")

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="table1 to table7, or figures.")]


@tables_app.command()
def show(table: TableName) -> None:
    """Print a stored table as the paper lays it out, and its errata."""
    from repro.printed.export import rows_by_block
    from repro.printed.load import load

    stored = load(table)
    with full_width(out_console, 200):
        for title, rows in rows_by_block(stored).items():
            heads = [head for head in rows[0] if head != "family" or "base" not in rows[0]]  # a base says its family
            grid = Table(title=title or stored.title, title_justify="left", box=None)
            for head in heads:
                grid.add_column(head, overflow="fold", no_wrap=head in stored.row_keys)
            for row in rows:
                grid.add_row(*(Text(row[head]) for head in heads))
            out_console.print(grid)
    for erratum in stored.errata:
        out_console.print(f"erratum {erratum.id}: {erratum.reason}", highlight=False, markup=False)


@tables_app.command()
def export(
    table: TableName,
    format: Annotated[str, typer.Option("--format", help="csv, json or latex.")] = "csv",
) -> None:
    """Write a stored table to standard output, one entry per printed number."""
    from repro.printed.export import export_table as exported
    from repro.printed.load import load

    typer.echo(exported(load(table), format).rstrip("\n"))


@tables_app.command()
def check() -> None:
    """Check the stored tables and claims against the paper's own arithmetic and numbers."""
    from repro.tables.consistency.check import ORACLES, check_tables

    findings = check_tables()
    for finding in findings:
        out_console.print(
            f"{'ok ' if finding.ok else 'BAD'} {ORACLES[finding.oracle]}: {finding.text}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    bad = sum(not finding.ok for finding in findings)
    out_console.print(f"{len(findings)} findings, {bad} not accounted for in the stored files", highlight=False)
    raise typer.Exit(1 if bad else 0)
