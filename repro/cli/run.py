"""`repro run`: a study from plan to verdicts."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import out_console, print_error
from repro.cli.options import (
    ClusterFile,
    ClusterName,
    ClusterOptions,
    EngineOption,
    MicroBatch,
    Out,
    Quiet,
    Ranks,
    Sets,
    ShardMode,
    TensorParallel,
    VllmServer,
    parse_shard,
    with_engine,
)
from repro.errors import InputError

ScaleName = Annotated[
    str, typer.Option("--scale", help="auto, toy, small or paper. auto: the largest that fits this machine.")
]
FamilyNames = Annotated[list[str] | None, typer.Option("--family", help="Model family; repeatable; 'all'.")]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", help="Training seeds; default: the study's own number (usually 1). A claim wants several."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Stages to run side by side. Default: by the machine.")
]


def run(
    study: Annotated[str, typer.Argument(help="A study of `repro list`.")],
    scale: ScaleName = "auto",
    family: FamilyNames = None,
    seeds: Seeds = None,
    first_seed: Annotated[
        int,
        typer.Option(
            "--first-seed", min=0, help="First of the seeds: several machines share them, `repro report` joins them."
        ),
    ] = 0,
    sets: Sets = None,
    engine: EngineOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print stages, cache hits and expected hours; run nothing.")
    ] = False,
    out: Out = Path("results"),
    workers: Workers = None,
    checkpoint_every: Annotated[
        int | None, typer.Option("--checkpoint-every", min=0, help="Optimiser steps between checkpoints; 0 for none.")
    ] = None,
    ranks: Ranks = 1,
    shard: ShardMode = "auto",
    tensor_parallel: TensorParallel = 0,
    vllm_server: VllmServer = 0,
    cluster: ClusterName = "local",
    cluster_file: ClusterFile = None,
    cluster_option: ClusterOptions = None,
    micro_batch: MicroBatch = None,
    quiet: Quiet = False,
) -> None:
    """Run a study and give a verdict on each of its claims."""
    from repro.pipeline.cluster import MAX_JOBS, Execution, parse_cluster
    from repro.planner.fit import unplaceable
    from repro.planner.resources import resources_for
    from repro.planner.scales import check_fits, largest_scale, workers_for
    from repro.recipes.catalog import find_study, plan
    from repro.stages.pins import unpinned_inputs
    from repro.system import gpu_checks as accelerator
    from repro.system.hardware import hardware

    find_study(study)
    where, asked = parse_cluster(cluster, cluster_file, cluster_option or ())
    if where == "slurm" and scale == "auto":
        raise InputError("--cluster slurm: name the scale (--scale paper): this machine is not the one that runs it")
    machine = hardware()
    if scale == "auto":
        chosen, words = largest_scale(machine)
        if not quiet:
            out_console.print(f"scale {chosen}: {words}", highlight=False)
    else:
        chosen = scale  # type: ignore[assignment]
    planned = plan(
        study,
        scale=chosen,
        families=family or (),
        seeds=seeds,
        assignments=with_engine(sets, engine),
        first_seed=first_seed,
    )
    if vllm_server and not any(stage.workload.samples_while_training for stage in planned.stages()):
        raise InputError(
            f"--vllm-server {vllm_server}: no stage of {study} draws by vLLM while it trains. Add --engine vllm to one that"
            " calibrates or distils on-policy, or leave it out."
        )
    resources = resources_for(
        chosen == "toy",
        checkpoint_every,
        micro_batch,
        ranks=ranks,
        shard=parse_shard(shard),
        tensor_parallel=tensor_parallel,
        vllm_server=vllm_server,
    )
    side_by_side = 1 if where == "none" else workers
    if dry_run:
        from repro.planner.dry_run import print_plan

        print_plan(planned, out, out_console, resources, side_by_side)
        return
    warnings = []
    if where != "slurm":  # there the machine that submits is not the one that runs
        check_fits(chosen, machine)
        warnings += accelerator.gpu_problems(machine)
        warnings += [
            f"does not fit: {line}" for line in unplaceable(planned, planned.stages(), resources, side_by_side)
        ]
    loose = unpinned_inputs(planned.stages()) if chosen == "paper" else []
    if loose:
        warnings.append(f"unpinned, so not the same tomorrow: {', '.join(loose)}. `repro pin` pins them")
    for line in warnings:
        print_error(f"warning: {line}", "yellow")
    from repro.workflow.study import run_study

    workers = workers or (MAX_JOBS if where == "slurm" else workers_for(chosen, machine, ranks))
    execution = Execution(resources, workers, where, asked)
    outcome = run_study(planned, out, execution, console=out_console, quiet=quiet)
    raise typer.Exit(1 if outcome.is_contradicted else 0)
