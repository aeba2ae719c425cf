"""`repro compare`: evaluations, or two results of one study, side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import out_console
from repro.errors import InputError

if TYPE_CHECKING:
    from repro.report.compare import Comparison
    from repro.report.evaluations import EvaluationComparison

compare_app = typer.Typer()


@compare_app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER",
            help="Artifacts that `repro evaluate` printed, two or more; or two results of one study.",
        ),
    ],
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Also write an HTML page of the evaluations: plots, the trainings behind them, completions side by side.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Compare evaluations of models, or two results of one study.

    Evaluations: per task the accuracy of each with its 95 % interval, the chance level, how much was truncated and
    unparsed, and each one's difference to the first, paired by item. Put what the others are measured against first: the
    untouched student. Evaluations of models whose trainings differ in their seeds alone are pooled into one, paired by
    training seed too: name all of them.

    Two results: what was set differently, every cell, and the verdicts. A cell's difference is second - first on the items
    that both have, paired by item (and by training seed, where both have the same ones), with its 95 % interval.

    Example: `repro compare my/cache/evaluate-1a2b... my/cache/evaluate-3c4d... --page my/compare.html`

    Example: `repro compare results/table2-toy results/table2-toy-eta0.3-1a2b3c`
    """
    if len(folders) < 2:
        raise InputError(f"{folders[0]}: nothing to compare it with. Name a second evaluation or result.")
    places = [folder.resolve() for folder in folders]
    if twice := [folder for folder, place in zip(folders, places) if places.count(place) > 1]:
        raise InputError(f"{twice[0]}: named twice. Name another folder to compare it with.")
    from repro.report.evaluations import are_evaluations, compare_evaluations

    comparison: EvaluationComparison | Comparison
    if are_evaluations(folders):
        from repro.report.evaluation_text import print_evaluations

        comparison = compare_evaluations(folders)
        if not as_json:
            print_evaluations(comparison, out_console)
        if page is not None:
            from repro.report.evaluations_page import write_comparison_page

            written = write_comparison_page(comparison, page)
            if not as_json:
                out_console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)
    else:
        if page is not None:
            raise InputError(f"--page {page}: only for evaluations. `repro report` writes the page of a result.")
        from repro.report.compare import compare_results, print_comparison

        if len(folders) > 2:
            raise InputError(
                f"{len(folders)} results: compare two at a time. Only evaluations (.../cache/evaluate-...) can be more."
            )
        comparison = compare_results(*folders)
        if not as_json:
            print_comparison(comparison, out_console)
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=1))
