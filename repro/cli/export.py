"""`repro export`: models and results for others."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.errors import InputError

export_app = typer.Typer()


@export_app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of a study's result, or the artifact (or model folder) of a calibrated or distilled model."
        ),
    ],
    into: Annotated[
        Path | None, typer.Option("--into", help="New folder for a model or a crate. Tables go to standard output.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="For a result: csv, markdown, latex or ro-crate (Workflow Run RO-Crate).")
    ] = "csv",
    license: Annotated[
        str, typer.Option("--license", help="Licence of the result in a crate: an SPDX id or a URL.")
    ] = "no licence was stated",
) -> None:
    """Export a made model in the layout of the Hugging Face Hub, or a result as CSV, Markdown, LaTeX or RO-Crate.

    A model's folder gets a model card (base, licence, eta, target, data, accuracies and verdicts that were measured, a
    warning if it is intended to be undistillable), `.eval_results/` for tasks of the hub, and `provenance/record.json`. Upload it
    with `hf upload ORG/NAME FOLDER`.

    Examples: `repro export results/cache/distill-0123456789abcdef --into student`, `repro export results/table2-toy --format latex`
    """
    from repro.workflow.export_model import artifact_of, export_model

    if artifact_of(source) is not None:
        if into is None:
            raise InputError("--into: name a new folder for the model.")
        for file in export_model(source, into):
            out_console.print(f"written: {file}", highlight=False, soft_wrap=True)
    elif format == "ro-crate":
        from repro.workflow.ro_crate import export_crate

        if into is None:
            raise InputError("--into: name a new folder for the crate.")
        out_console.print(f"written: {export_crate(source, into, license)}", highlight=False, soft_wrap=True)
    else:
        from repro.report.export_result import export_result

        if into is not None and source.exists():
            raise InputError(f"--into {into}: a table goes to standard output; write ... > {into}")
        typer.echo(export_result(source, format).rstrip("\n"))
