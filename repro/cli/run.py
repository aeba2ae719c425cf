"""`repro run`: a study from plan to verdicts."""

import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.console import out_console, print_error
from repro.cli.options import Claims, ExecutionOptions, Out, Quiet, assignments_from, execution_options, with_options
from repro.errors import InputError

if TYPE_CHECKING:
    from repro.pipeline.cluster import Cluster, Execution
    from repro.planner.fit import JobNeeds
    from repro.planner.placement import Cards
    from repro.planner.resources import Resources
    from repro.recipes.study import Scale, Study


@with_options(assignments=assignments_from, options=execution_options)
def run(
    study: Annotated[str, typer.Argument(help="A study of `repro list`.")],
    scale: Annotated[
        str,
        typer.Option(
            "--scale", help="auto, toy, small or paper. auto: small if this machine's GPU suffices, else toy."
        ),
    ] = "auto",
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Model family; repeatable, or all. Default: the study's own.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            help="Number of training seeds. Default: 3 at paper scale, else the study's own number (usually 1).",
        ),
    ] = None,
    first_seed: Annotated[
        int,
        typer.Option(
            "--first-seed",
            min=0,
            help="First seed, so that several machines can share the seeds; `repro report` joins their results.",
        ),
    ] = 0,
    *,
    assignments: tuple[str, ...],
    options: ExecutionOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print stages, cache hits and expected time; run nothing.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 1 if a claim is contradicted below paper scale as well, where it says nothing about the paper.",
        ),
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse",
            help="Run all stages of the small or paper scale in minutes, with a two-layer miniature of each model (no weights are"
            " downloaded) and few items, tokens and steps, to see whether everything works here. Numbers mean nothing.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start a paper-scale run without asking.")] = False,
    out: Out = Path("results"),
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Folder of the result under --out. Default: STUDY-SCALE and the settings that differ."
        ),
    ] = None,
    claims: Claims = None,
    quiet: Quiet = False,
) -> None:
    """Run a study and give a verdict on each of its claims."""
    from repro.planner.scales import fits, use_gpus_of, use_largest_gpus
    from repro.recipes.catalog import find_study, plan
    from repro.recipes.setting_users import check_used
    from repro.system.hardware import hardware
    from repro.tables.own_claims import read_own_claims
    from repro.workflow.rehearsal import FOLDER, result_name
    from repro.workflow.result_folder import check_name, result_folder

    find_study(study)
    own_claims = read_own_claims(claims or (), study)
    machine = hardware()
    chosen = _choose_scale(scale, machine, options, quiet=quiet)
    if rehearse and dry_run:
        raise InputError("--rehearse --dry-run: a rehearsal takes minutes and runs its stages. Choose one of the two.")
    seeds = 1 if rehearse and seeds is None else seeds
    planned = plan(
        study, scale=chosen, families=family or (), seeds=seeds, assignments=assignments, first_seed=first_seed
    )
    check_used(planned)
    if options.backend != "slurm":  # there the machine that submits is not the one that runs
        is_small = rehearse and not fits(planned.scale, machine)
        machine = use_largest_gpus(machine) if is_small else use_gpus_of(planned.scale, machine)
    execution = options.at_scale(planned.scale, machine)
    _check_server(planned, execution.resources)
    _check_ranks(planned, out, execution.resources)
    check_name(name)
    if rehearse:
        out = out / FOLDER
        has_gpu = bool(machine["gpus"]) or options.backend == "slurm"
        if not has_gpu:
            execution = _on_all_cores(execution, options.workers, machine)
        rehearsed = _rehearse(planned, out, has_gpu=has_gpu, quiet=quiet)
        _check_ranks(rehearsed, out, execution.resources)
        if has_gpu:
            execution = _with_planned_layouts(execution, planned, rehearsed, machine, quiet=quiet)
        planned = rehearsed
        name = name or result_name(planned)
    folder = result_folder(planned, out, name)
    if dry_run:
        from repro.planner.dry_run import print_plan

        print_plan(planned, out, out_console, execution.resources, options.most_workers, **_plan_for(planned, options))
        needs = _job_needs(planned, out, execution.resources, options)
        for line in needs.too_large if needs and options.cluster.gpus else []:
            out_console.print(f"does not fit: {line}", highlight=False, soft_wrap=True)
        out_console.print(f"result: {folder}", highlight=False, soft_wrap=True)
        return
    for line in () if rehearse else _warnings(planned, execution.resources, machine, options, out):
        print_error(f"warning: {line}", "yellow")
    if planned.scale == "paper" and not rehearse:
        _confirm(planned, out, execution.resources, options, yes=yes)
    from repro.workflow.study import run_study

    outcome = run_study(planned, out, execution, console=out_console, quiet=quiet, name=name, claims=own_claims)
    counts = (planned.scale == "paper" or strict) and not rehearse
    raise typer.Exit(1 if outcome.is_contradicted and counts else 0)


def _rehearse(study: "Study", out: Path, *, has_gpu: bool, quiet: bool) -> "Study":
    """Return the study to rehearse with."""
    from rich.console import Console

    from repro.workflow.rehearsal import rehearsal_of

    return rehearsal_of(study, out, has_gpu=has_gpu, console=Console(quiet=True) if quiet else out_console)


def _with_planned_layouts(
    execution: "Execution", study: "Study", rehearsed: "Study", machine: dict[str, Any], *, quiet: bool
) -> "Execution":
    """Return the execution of a rehearsal in which each stage has the layout of the stage that it rehearses.

    Unchanged where nothing says how many GPUs a Slurm job gets.
    """
    from repro.planner.placement import describe_layout, machine_cards
    from repro.workflow.rehearsal import planned_layouts

    is_slurm = execution.backend == "slurm"
    if is_slurm and not execution.cluster.gpus:
        return execution
    cards = _job_cards(study.scale, execution.cluster) if is_slurm else machine_cards(machine)
    if cards is None:
        return execution
    layouts = planned_layouts(study, rehearsed, execution.resources, cards)
    counts = Counter(describe_layout(layout) for layout in layouts.values())
    parts = [f"{gpus} (stages: {number})" for gpus, number in sorted(counts.items())]
    if left_out := sum(stage.workload.uses_gpu for stage in rehearsed.stages()) - len(layouts):
        parts.append(f"as few as miniatures need (stages whose real models do not fit here: {left_out})")
    if not quiet:
        out_console.print(f"GPUs of a stage: {', '.join(parts)}", highlight=False, soft_wrap=True)
    return replace(execution, layouts=layouts)


def _job_cards(scale: "Scale", cluster: "Cluster") -> "Cards | None":
    """Return the GPUs of a Slurm job, as many as the scale needs if nothing says how many; None for a scale without GPUs."""
    from repro.planner.placement import Cards
    from repro.planner.scales import REQUIREMENTS

    required = REQUIREMENTS[scale]
    if not required.gpus:
        return None
    return Cards(cluster.gpus or required.gpus, cluster.gpu_memory_gib or required.gpu_memory_gib)


def _plan_for(study: "Study", options: ExecutionOptions) -> dict[str, Any]:
    """Return the arguments of `print_plan` that say where the stages would run."""
    if options.backend != "slurm":
        return {}
    return {"is_here": False, "cards": _job_cards(study.scale, options.cluster)}


def _job_needs(study: "Study", out: Path, resources: "Resources", options: ExecutionOptions) -> "JobNeeds | None":
    """Return what the stages still to run need of the Slurm jobs; None without Slurm, or for a scale without GPUs."""
    from repro.planner.fit import job_needs
    from repro.stages.artifact import which_cached

    cards = _job_cards(study.scale, options.cluster) if options.backend == "slurm" else None
    if cards is None:
        return None
    stages = study.stages()
    return job_needs([s for s, is_cached in zip(stages, which_cached(stages, out)) if not is_cached], resources, cards)


def _on_all_cores(execution: "Execution", workers: int | None, machine: dict[str, Any]) -> "Execution":
    """Return the execution of miniatures without a GPU: a stage on each core.

    Args:
        workers: the user's number; None to choose by the machine.
    """
    from repro.planner.scales import workers_for

    resources = replace(execution.resources, threads=1)
    return replace(execution, resources=resources, workers=workers or workers_for("toy", machine))


def _choose_scale(scale: str, machine: dict[str, Any], options: ExecutionOptions, *, quiet: bool) -> "Scale":
    from repro.planner.scales import automatic_scale

    if scale != "auto":
        return scale  # type: ignore[return-value]  # `plan` checks it
    if options.backend == "slurm":
        raise InputError("--cluster slurm: name the scale (--scale paper): the jobs run on other machines")
    chosen, reason = automatic_scale(machine)
    if not quiet:
        out_console.print(f"scale {chosen}: {reason}", highlight=False)
    return chosen


def _confirm(study: "Study", out: Path, resources: "Resources", options: ExecutionOptions, *, yes: bool) -> None:
    """Show the plan and ask before spending thousands of GPU-hours; do not ask if everything is cached.

    Raises:
        InputError: there is no terminal to ask on, and no --yes.
        Exit: the answer is no.
    """
    from repro.planner.dry_run import gpu_hours_to_run, print_plan

    hours, gpu = gpu_hours_to_run(study, out, resources, is_here=options.backend != "slurm")
    if yes or not hours:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"scale {study.scale} takes about {hours:,.0f} GPU-hours ({gpu}): --dry-run shows the plan, --yes starts it"
            " (there is no terminal to ask at)."
        )
    print_plan(study, out, out_console, resources, options.most_workers, **_plan_for(study, options))
    if not typer.confirm(f"Start about {hours:,.0f} GPU-hours ({gpu})?"):
        raise typer.Exit(0)


def _check_server(study: "Study", resources: "Resources") -> None:
    if resources.vllm_server and not any(stage.workload.samples_while_training for stage in study.stages()):
        raise InputError(
            f"--vllm-server {resources.vllm_server}: no stage of {study.name} samples with vLLM in training. Add --engine"
            " vllm to a study that calibrates or distils on-policy, or leave out --vllm-server."
        )


def _check_ranks(study: "Study", out: Path, resources: "Resources") -> None:
    """Refuse before the first stage what a training would refuse after hours of other stages."""
    from repro.stages.artifact import which_cached

    stages = study.stages()
    trained = [
        stage for stage, is_cached in zip(stages, which_cached(stages, out)) if stage.workload.trains and not is_cached
    ]
    for stage in trained:
        sequences = stage.workload.sequences_per_step
        if sequences % resources.ranks:
            common = math.gcd(*(other.workload.sequences_per_step for other in trained))
            fewer = next(ranks for ranks in range(resources.ranks, 0, -1) if common % ranks == 0)
            raise InputError(
                f"--ranks {resources.ranks}: {stage.label} trains on {sequences} completions per step, which cannot be shared"
                f" evenly. Use --ranks {fewer}, or another divisor of {common}."
            )


def _warnings(
    study: "Study", resources: "Resources", machine: dict[str, Any], options: ExecutionOptions, out: Path
) -> list[str]:
    """Return warnings about what may go wrong.

    Raises:
        InputError: the scale does not fit this machine, or a stage does not fit the Slurm jobs.
    """
    from repro.planner.fit import unplaceable
    from repro.planner.scales import REQUIREMENTS, check_fits
    from repro.stages.pins import unpinned_inputs
    from repro.system.gpu_checks import gpu_problems
    from repro.system.volumes import lost_volume

    warnings = [line] if machine["container"] and (line := lost_volume(out)) else []
    if options.backend != "slurm":  # there the machine that submits is not the one that runs
        check_fits(study.scale, machine)
        warnings += gpu_problems(machine) if REQUIREMENTS[study.scale].gpus else []
        too_large = unplaceable(study, study.stages(), resources, options.most_workers)
        warnings += [f"does not fit: {line}" for line in too_large]
    else:
        warnings += _check_jobs(study, resources, options, out)
    unpinned = unpinned_inputs(study.stages()) if study.scale == "paper" else []
    if unpinned:
        warnings.append(f"unpinned, so the models may change: {', '.join(unpinned)}. `repro pin` pins them")
    return warnings


def _check_jobs(study: "Study", resources: "Resources", options: ExecutionOptions, out: Path) -> list[str]:
    """Return warnings about what the Slurm jobs request.

    Raises:
        InputError: their GPUs are too few or too small for a stage.
    """
    from repro.pipeline.cluster import check_gpus, check_host

    cluster, needs = options.cluster, _job_needs(study, out, resources, options)
    if needs is None:
        return []
    line = check_gpus(cluster, resources)
    if cluster.gpus and needs.too_large:
        first, *others = needs.too_large
        more = f" (and {len(others)} more: --dry-run shows them)" if others else ""
        raise InputError(
            f"--cluster slurm: the jobs are too small. {first}{more}. If their GPUs have more memory, add --cluster-option"
            " gpu_memory_gib=GIB."
        )
    host = check_host(cluster, needs.cpus, needs.host_gib) if needs.cpus else []
    return [line, *host] if line else host
