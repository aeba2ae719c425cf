"""`repro compare`: two results of one study side by side."""

import json
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console

compare_app = typer.Typer()


@compare_app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a study's result.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another result of the same study.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Compare two results of one study: what was set differently, every cell, and the verdicts.

    A cell's difference is B - A on the items that both results have, paired by item (and by training seed, where both have
    the same ones), with its 95 % interval.

    Example: `repro compare results/table2-toy results/table2-toy-eta0.3-1a2b3c`
    """
    from repro.report.compare import compare_results, print_comparison

    comparison = compare_results(first, second)
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=1))
    else:
        print_comparison(comparison, out_console)
