"""`repro calibrate|sample|distill|evaluate`: one stage on a person's own models."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console
from repro.cli.options import (
    Data,
    EngineOption,
    Items,
    MicroBatch,
    Out,
    Quiet,
    RewardModelName,
    Seed,
    Sets,
    Tasks,
    options_from,
)

stages_app = typer.Typer()


@stages_app.command()
def calibrate(
    teacher: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    eta: Annotated[str, typer.Option("--eta", help="> 0 distillable, < 0 undistillable, 0 plain RFT.")],
    target: Annotated[
        str | None, typer.Option("--target", help="Calibration target: the student or a proxy for it.")
    ] = None,
    task: Tasks = None,
    data: Data = None,
    items: Items = None,
    reward_model: RewardModelName = None,
    sets: Sets = None,
    engine: EngineOption = None,
    seed: Seed = 0,
    out: Out = Path("results"),
    micro_batch: MicroBatch = None,
    quiet: Quiet = False,
) -> None:
    """Calibrate one teacher towards or away from a target; leaves a model folder."""
    from repro.workflow.own_models import calibrate_stage, run_and_print

    stage = calibrate_stage(teacher, target, eta, options_from(task, data, items, reward_model, sets, engine, seed))
    run_and_print(stage, out, quiet=quiet, console=out_console, micro_batch=micro_batch)


@stages_app.command()
def sample(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    split: Annotated[str, typer.Option("--split", help="train or test.")] = "train",
    task: Tasks = None,
    data: Data = None,
    items: Items = None,
    sets: Sets = None,
    engine: EngineOption = None,
    seed: Seed = 0,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """Draw completions of one model: token ids, log-probabilities and text, as Parquet."""
    from repro.workflow.own_models import run_and_print, sample_stage

    stage = sample_stage(model, split, options_from(task, data, items, None, sets, engine, seed))
    run_and_print(stage, out, quiet=quiet, console=out_console)


@stages_app.command()
def distill(
    student: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    teacher: Annotated[
        str, typer.Option("--teacher", help="Hub id, folder (e.g. of a calibrated teacher), or toy name.")
    ],
    method: Annotated[str, typer.Option("--method", help="sft, gkd-fkl or gkd-rkl.")] = "gkd-rkl",
    task: Tasks = None,
    data: Data = None,
    items: Items = None,
    reward_model: RewardModelName = None,
    sets: Sets = None,
    engine: EngineOption = None,
    seed: Seed = 0,
    out: Out = Path("results"),
    micro_batch: MicroBatch = None,
    quiet: Quiet = False,
) -> None:
    """Distil one student from one teacher; leaves a model folder."""
    from repro.workflow.own_models import distill_stage, run_and_print

    stage = distill_stage(student, teacher, method, options_from(task, data, items, reward_model, sets, engine, seed))
    run_and_print(stage, out, quiet=quiet, console=out_console, micro_batch=micro_batch)


@stages_app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or toy name.")],
    task: Tasks = None,
    data: Data = None,
    items: Items = None,
    reward_model: RewardModelName = None,
    sets: Sets = None,
    engine: EngineOption = None,
    seed: Seed = 0,
    out: Out = Path("results"),
    quiet: Quiet = False,
) -> None:
    """Accuracy, maj@16 and pass@16 (or the reward score) of one model, with its failure rates."""
    from repro.workflow.own_models import evaluate_stage, run_and_print

    stage = evaluate_stage(model, options_from(task, data, items, reward_model, sets, engine, seed))
    run_and_print(stage, out, quiet=quiet, console=out_console)
