"""`repro show` and `repro report`: a stored result on the terminal and as a page."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.cli.options import Claims

results_app = typer.Typer()


@results_app.command()
def show(
    result: Annotated[Path, typer.Argument(help="Folder of a study's result or of one stage.")],
    claims: Claims = None,
    completions: Annotated[
        int | None,
        typer.Option(
            "--completions",
            metavar="N",
            help="For an evaluation or sample: print the first N prompts of each task with completions and grades.",
        ),
    ] = None,
) -> None:
    """Print a stored result again: verdicts and table, or one stage's record; with --completions, what a model wrote."""
    if completions is not None:
        from repro.report.stored_completions import print_completions

        print_completions(result, completions, out_console)
        return
    from repro.report.reload import show_result

    show_result(result, out_console, claims or ())


@results_app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Folders of studies' results, or their results.json files.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The page (.html) or a folder for it; its Markdown brief is written next to it. Default: the page of a single"
            " result, else ./report.html.",
        ),
    ] = None,
    claims: Claims = None,
) -> None:
    """Write a self-contained HTML page (and its Markdown brief) of one or more stored results.

    Results of different seeds or families of the same study and scale are joined and judged together; other studies and
    scales follow on the same page. Results that do not belong together, or are damaged, are refused. A page that this
    command wrote before is replaced, any other file never.
    """
    from repro.report.html import PAGE_FILE
    from repro.report.merge import read_parts
    from repro.report.write import write_report

    folder = results[0] if len(results) == 1 and results[0].is_dir() else Path()
    page, brief = write_report(read_parts(results, claims or ()), out or folder / PAGE_FILE)
    out_console.print(f"written: {page}, {brief}", highlight=False, soft_wrap=True)
