"""Maintenance commands: `pin` and `record-history`."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.errors import InputError

maintain_app = typer.Typer()


@maintain_app.command()
def pin(
    only: Annotated[list[str] | None, typer.Option("--only", help="images, actions or hub; repeatable.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Offline: list what is unpinned, exit 1 if anything is.")
    ] = False,
) -> None:
    """Look up image digests, action commits and hub revisions, and write them into the locks.

    Run it in a checkout, on a machine that reaches the registries, and commit what it changes: `pins.json`, the
    Dockerfile, the workflows, and `repro/system/hub_lock.json`. What cannot be looked up stays as it was.
    """
    from repro.pin import pin as pinning

    unknown = [kind for kind in only or [] if kind not in pinning.KINDS]
    if unknown:
        raise InputError(f"--only {unknown[0]}: choose from {', '.join(pinning.KINDS)}")
    if check:
        names = pinning.find_unpinned()
        for name in names:
            typer.echo(f"unpinned: {name}")
        out_console.print(f"{len(names)} unpinned")
        raise typer.Exit(1 if names else 0)
    result = pinning.pin(tuple(only or pinning.KINDS))
    for name, value in result.pins.items():
        typer.echo(f"{name} {value}")
    if result.unpinned:
        for line in result.unpinned:
            typer.echo(f"not looked up: {line}", err=True)
        raise InputError(
            f"{len(result.pins)} pinned; the names above could not be looked up and stay as they were. Run again where the registries answer."
        )
    out_console.print(f"{len(result.pins)} pinned: commit the changed files")


@maintain_app.command("record-history")
def record_history(
    result: Annotated[Path, typer.Argument(help="Folder of a study's result.")],
    into: Annotated[Path, typer.Option("--into", help="JSON-lines file; a line is added.")] = Path("history.jsonl"),
) -> None:
    """Add one line about a result (verdicts, figures, hours, commit) to a history file."""
    from repro.report.history import append_to_history

    is_new = append_to_history(result, into)
    out_console.print(f"{into}: {'a line added' if is_new else 'already has this result'}", highlight=False)
