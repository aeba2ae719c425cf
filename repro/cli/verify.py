"""`repro verify`: a third party checks a stored result or artifact, without a model."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.errors import InputError

verify_app = typer.Typer()
_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


@verify_app.command()
def verify(
    result: Annotated[
        Path,
        typer.Argument(help="Folder of a study's result, or an artifact (e.g. one that `repro evaluate` printed)."),
    ],
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of a result's artifacts. Default: the cache next to the result."),
    ] = None,
) -> None:
    """Verify a result or an artifact without a model: hashes, grades, numbers and verdicts.

    Hashes every file of the artifacts that are there, grades the stored completions again, measures the cells again, and
    judges them again. For an artifact: the hashes and grades of it and of everything it was made from, and whether the
    model folders it read are unchanged. Artifacts that are not there (weights are large) are listed as not verified. Exit
    code 0, or 1 if anything does not agree.

    Example: `repro verify results/table2-toy`

    Example: `repro verify my/cache/evaluate-1a2b...`
    """
    from repro.stages.artifact import is_complete as is_artifact

    if cache is not None and is_artifact(result):
        raise InputError(
            f"--cache {cache}: only for a study's result. {result} is an artifact, whose record names its inputs: leave out --cache."
        )
    if cache is not None and not cache.is_dir():
        raise InputError(f"--cache {cache}: no such folder. Leave it out to use the cache next to the result.")
    from repro.workflow.verify import hash_result, verify_chain, verify_result
    from repro.workflow.verify_artifact import Counts

    counts, is_good, is_complete = Counts(), True, True
    for finding in verify_chain(result, counts) if is_artifact(result) else verify_result(result, cache, counts):
        is_good &= finding.status != "bad"
        is_complete &= finding.status == "ok"
        out_console.print(f"[{_COLOURS[finding.status]}]{finding.status:<4}[/]", end=" ")
        out_console.print(f"{finding.subject}: {finding.message}", highlight=False, markup=False, soft_wrap=True)
    scored = f"; {counts.scored:,} scored by a reward model were not graded again" if counts.scored else ""
    out_console.print(
        f"{counts.files:,} files ({counts.bytes / 1e6:,.1f} MB) hashed; {counts.graded:,} completions graded again{scored}",
        highlight=False,
    )
    what = "the artifact's record" if is_artifact(result) else "the result"
    out_console.print(f"sha256 of {what}: {hash_result(result)}", highlight=False, soft_wrap=True)
    verdict = (
        "everything agrees" if is_complete else "everything verified agrees; see the lines marked note for the rest"
    )
    out_console.print(verdict if is_good else "[red]something does not agree: see the lines marked bad[/]")
    raise typer.Exit(0 if is_good else 1)
