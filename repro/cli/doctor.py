"""`repro doctor`: check everything that a study needs before hours are spent."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.cli.options import Out, assignments_from, with_options
from repro.errors import InputError

doctor_app = typer.Typer()
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@doctor_app.command()
@with_options(assignments=assignments_from)
def doctor(
    study: Annotated[str, typer.Argument(help="A study of `repro list`.")],
    scale: Annotated[str, typer.Option("--scale", help="auto, toy, small or paper.")] = "auto",
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Model family; repeatable, or all. Default: the study's own.")
    ] = None,
    *,
    assignments: tuple[str, ...],
    out: Out = Path("results"),
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Stages to try in parallel. Default: as many as fit this machine."),
    ] = None,
) -> None:
    """Check everything that a study needs: weights, templates, scores, one step of each stage, memory, disk, hours.

    Prints one line per check, with its fix if it is not ok. Exit code 0, or 2 if something must be fixed first.
    """
    from repro.doctor.checks import run_checks
    from repro.models.loading import is_toy_model
    from repro.planner.scales import automatic_scale, use_gpus_of, workers_for
    from repro.recipes.catalog import STUDIES, find_study, plan
    from repro.recipes.setting_users import check_used
    from repro.system.hardware import hardware

    if study not in STUDIES and (is_toy_model(study) or "/" in study):
        raise InputError(
            f"{study}: not a study. Name one of `repro list`; to check a model, add --dry-run to the command that uses it."
        )
    find_study(study)
    machine = hardware()
    chosen = automatic_scale(machine)[0] if scale == "auto" else scale
    planned = plan(study, scale=chosen, families=family or (), seeds=1, assignments=assignments)  # type: ignore[arg-type]
    check_used(planned)
    machine = use_gpus_of(planned.scale, machine)
    out_console.print(f"{study} at scale {chosen}", highlight=False)
    counts = {"ok": 0, "warn": 0, "fail": 0}
    for finding in run_checks(planned, out, workers or workers_for(planned.scale, machine)):
        counts[finding.status] += 1
        out_console.print(f"[{_COLOURS[finding.status]}]{finding.status:<4}[/]", end=" ")
        out_console.print(f"{finding.subject}: {finding.message}", highlight=False, markup=False, soft_wrap=True)
    out_console.print(
        f"{counts['ok']} ok, {counts['warn']} warning{'' if counts['warn'] == 1 else 's'}, {counts['fail']} to fix",
        highlight=False,
    )
    raise typer.Exit(2 if counts["fail"] else 0)
