"""`repro world ...`: the properties of an embedded world."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from repro.cli.console import err_console, out_console
from repro.toy.models import WEIGHTS

world_app = typer.Typer(help="The embedded worlds of the toy scale: check what their results rest on.")


@world_app.callback()
def _has_subcommands() -> None:
    """Keep `check` as a subcommand."""


@world_app.command()
def check(
    world: Annotated[
        str, typer.Option("--world", help="world3, or world3-no-tail for its twin without a tail. Default: world3.")
    ] = "",
    models: Annotated[
        Path,
        typer.Option(
            "--models", help="Folder that `repro toy-models` wrote. Default: the shipped models.", show_default=False
        ),
    ] = WEIGHTS,
) -> None:
    """Measure the properties of a world (docs/toy_world.md) and print them with their bars. Exit code 1: one is missed."""
    from repro.toy.world import DEFAULT_WORLD, parse_world
    from repro.workflow.world_check import check_world

    with err_console.status("loading") as status:
        findings = check_world(
            parse_world(world) if world else DEFAULT_WORLD,
            models,
            lambda done, total, unit, note="": status.update(f"{done}/{total} {unit} {note}"),
        )
    grid = Table(box=None)
    for header in ("property", "of", "measured", "bar", ""):
        grid.add_column(header, overflow="fold")
    for finding in findings:
        verdict = "holds" if finding.holds else "missed"
        grid.add_row(finding.name, finding.subject, finding.value, finding.bar, verdict)
    out_console.print(grid, highlight=False)
    missed = sum(not finding.holds for finding in findings)
    out_console.print(f"{len(findings) - missed} of {len(findings)} properties hold", highlight=False)
    raise typer.Exit(1 if missed else 0)
