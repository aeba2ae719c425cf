"""Run one stage, or a study, from Python: what the command does, without its printing."""

from pathlib import Path

from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.planner.resources import resources_for
from repro.planner.scales import check_fits, use_gpus_of, workers_for
from repro.recipes.study import Study
from repro.stages import Stage
from repro.system.hardware import hardware
from repro.workflow.stage_run import run_with_inputs
from repro.workflow.study import run_study as run_planned


def run_stage(stage: Stage, out: Path | str = "results", *, quiet: bool = True) -> Path:
    """Run a stage and its inputs, each in a process of its own; what is cached is not run again.

    Args:
        stage: of `calibrate_stage`, `distill_stage`, `evaluate_stage`, `sample_stage` or `traps_stage`.
        out: folder for results and cached stages.
        quiet: no progress on standard error.

    Returns:
        The folder of its artifact: `summary.json`, `record.json`, and `model/` for a training.

    Raises:
        InputError: a mistake in models, rows or settings.
        StageError: the stage failed; names its log.
    """
    return run_with_inputs(stage, Path(out), console=_console(quiet), quiet=quiet)


def run_study(study: Study, out: Path | str = "results", *, workers: int | None = None, quiet: bool = True) -> Path:
    """Run a study on this machine, judge it, and write results.json, report.html and report.md.

    Args:
        study: of `plan("table2", scale="toy")`.
        out: folder for results and cached stages.
        workers: stages that run side by side; None: as many as fit the machine.
        quiet: print neither progress nor verdicts.

    Returns:
        The folder of the result, for `read_result`.

    Raises:
        InputError: a mistake of the user, or a machine that is too small.
        StageError: a stage failed.
    """
    machine = use_gpus_of(study.scale, hardware())
    check_fits(study.scale, machine)
    resources = resources_for(study.scale)
    execution = Execution(resources, workers or workers_for(study.scale, machine, resources.ranks))
    return run_planned(study, Path(out), execution, console=_console(quiet), quiet=quiet).folder


def _console(quiet: bool) -> Console:
    return Console(quiet=quiet)
