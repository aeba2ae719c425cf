"""`repro calibrate|sample|distill|evaluate`: one stage on the user's own models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import out_console, print_notes
from repro.cli.options import DryRun, MicroBatch, Out, Quiet, Track, scored_stage_options, stage_options, with_options

if TYPE_CHECKING:
    from repro.stages import Stage
    from repro.workflow.own_models import StageOptions

stages_app = typer.Typer()
_MODEL = "Hub id, folder, or toy name."
Model = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
Student = Annotated[str, typer.Argument(metavar="STUDENT", help=_MODEL)]
Teacher = Annotated[str, typer.Argument(metavar="TEACHER", help=_MODEL)]


@stages_app.command()
@with_options(options=scored_stage_options)
def calibrate(
    teacher: Teacher,
    eta: Annotated[
        str,
        typer.Option(
            "--eta",
            help="Strength and sign of calibration, no unit: above 0 distillable, below 0 undistillable, 0 plain RFT.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="Calibration target: the student or a proxy for it. Required unless the teacher is a toy model, which has its own.",
        ),
    ] = None,
    *,
    options: "StageOptions",
    dry_run: DryRun = False,
    out: Out = Path("results"),
    micro_batch: MicroBatch = None,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Calibrate one teacher towards or away from a target, and save it as a model folder."""
    from repro.workflow.own_models import calibrate_stage

    stage = calibrate_stage(teacher, options, target=target, eta=eta)
    _run(stage, options, out, dry_run=dry_run, quiet=quiet, micro_batch=micro_batch, track=track)


@stages_app.command()
@with_options(options=stage_options)
def sample(
    model: Model,
    *,
    options: "StageOptions",
    dry_run: DryRun = False,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """Sample completions of one model: token ids, log-probabilities and text, as Parquet."""
    from repro.workflow.own_models import sample_stage

    stage = sample_stage(model, options)
    _run(stage, options, out, dry_run=dry_run, quiet=quiet)


@stages_app.command()
@with_options(options=scored_stage_options)
def distill(
    student: Student,
    teacher: Annotated[
        str, typer.Option("--teacher", help="Hub id, folder (e.g. of a calibrated teacher), or toy name.")
    ],
    method: Annotated[str, typer.Option("--method", help="sft, gkd-fkl or gkd-rkl.")] = "gkd-rkl",
    *,
    options: "StageOptions",
    dry_run: DryRun = False,
    out: Out = Path("results"),
    micro_batch: MicroBatch = None,
    track: Track = None,
    quiet: Quiet = False,
) -> None:
    """Distil one student from one teacher, and save it as a model folder."""
    from repro.workflow.own_models import distill_stage

    stage = distill_stage(student, teacher, method, options)
    _run(stage, options, out, dry_run=dry_run, quiet=quiet, micro_batch=micro_batch, track=track)


@stages_app.command()
@with_options(options=scored_stage_options)
def evaluate(
    model: Model,
    *,
    options: "StageOptions",
    dry_run: DryRun = False,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """Evaluate one model: accuracy, maj@k and pass@k over k completions per item (or the reward score), and failure rates."""
    from repro.workflow.own_models import evaluate_stage

    stage = evaluate_stage(model, options)
    _run(stage, options, out, dry_run=dry_run, quiet=quiet)


def _run(
    stage: "Stage",
    options: "StageOptions",
    out: Path,
    *,
    dry_run: bool,
    quiet: bool,
    micro_batch: int | None = None,
    track: str | None = None,
) -> None:
    """Say which rows are taken; then print the plan, or run the stage and its inputs."""
    from repro.stages.artifact import CACHE
    from repro.training.tracking import check_tracker
    from repro.workflow.row_notices import stage_notices
    from repro.workflow.stage_plan import print_stage_plan
    from repro.workflow.stage_run import run_and_print
    from repro.workflow.stage_settings import check_read

    check_read(stage.procedure, options.assignments)
    tracker = check_tracker(track)
    print_notes(stage_notices(stage, options.items, out / CACHE))
    if dry_run:
        print_stage_plan(stage, out, out_console)
        return
    run_and_print(stage, out, console=out_console, quiet=quiet, micro_batch=micro_batch, tracker=tracker)
