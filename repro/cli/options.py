"""Command-line options that several commands share, and the objects that are built from them."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from repro.errors import InputError

if TYPE_CHECKING:
    from repro.pipeline.cluster import Backend, Cluster, Execution
    from repro.recipes.study import Scale
    from repro.workflow.own_models import StageOptions

Out = Annotated[Path, typer.Option("--out", envvar="REPRO_OUT", help="Folder for results and cached stages.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable. See `repro settings`."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress: results only.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print stages, items, settings and the time they take; run nothing.")
]
Claims = Annotated[
    list[Path] | None,
    typer.Option(
        "--claims",
        help="TOML file with your own claims, judged alongside the paper's; repeatable (example: docs/plugins.md).",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="Sampling engine: transformers or vllm. Default: vllm above toy scale with a GPU."),
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        "--micro-batch",
        min=1,
        help="Maximum sequences per forward pass in training; does not change the result. Default: 4 above toy scale.",
    ),
]

Track = Annotated[
    str | None,
    typer.Option("--track", help="Tracker to log trainings to: trackio, wandb, mlflow or tensorboard. Default: none."),
]


def with_options(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace parameters of a command by groups of options; each group builds the parameter's value from its options."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command).parameters.items():
            options = inspect.signature(groups[name]).parameters.values() if name in groups else [parameter]
            parameters += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]

        @functools.wraps(command)
        def run(**values: Any) -> Any:
            for name, group in groups.items():
                values[name] = group(**{option: values.pop(option) for option in inspect.signature(group).parameters})
            return command(**values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        return run

    return decorate


def assignments_from(
    sets: Sets = None,
    engine: EngineOption = None,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin",
            help="Python file with your own tasks, losses or rows; repeatable (example: docs/plugins.md).",
        ),
    ] = None,
) -> tuple[str, ...]:
    """Return the `key=value` assignments, including the engine, and import the plug-in files they may refer to."""
    if plugin:
        from repro.system import plugin_files

        plugin_files.use(plugin)
    return (*(sets or ()), *([f"engine={engine}"] if engine else ()))


@with_options(assignments=assignments_from)
def stage_options(
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task; repeatable. Default: the scale's tasks.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Rows of the task: a JSON-lines or Parquet file, or a folder with a train and a test file."
        ),
    ] = None,
    items: Annotated[
        int | None, typer.Option("--items", help="Prompts per task. Default: the scale's (`repro settings`).")
    ] = None,
    split: Annotated[
        Literal["train", "test", "all"] | None,
        typer.Option(
            "--split",
            help="Rows to use. A single file is split by content, nine train rows to one test row; all: every row. Default: train"
            " for calibrate, sample and distill, test for evaluate and traps.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="FIELD=NAME",
            help="Column of your file for a field of the task, e.g. prompt=problem if the questions are in 'problem'; repeatable.",
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction",
            metavar="TEXT",
            help="Text appended to each question of a file-* task; '' for the bare question. Default: ask for the form that is"
            " graded (docs/grading.md).",
        ),
    ] = None,
    *,
    assignments: tuple[str, ...],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of sampling and training.")] = 0,
) -> Any:
    """Build the options of one stage on the user's own models."""
    from repro.workflow.own_models import StageOptions

    return StageOptions(
        tasks=tuple(task or ()),
        data=data,
        items=items,
        split=split,
        assignments=assignments,
        seed=seed,
        fields=tuple(_field(text) for text in field or ()),
        instruction=instruction,
    )


def _field(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise InputError(f"--field {text}: write the task's field and its name in the file, e.g. prompt=problem")
    return ours, theirs


@with_options(options=stage_options)
def scored_stage_options(
    options: "StageOptions",
    reward_model: Annotated[
        str | None, typer.Option("--reward-model", help="Model that scores open-ended tasks: a sequence classifier.")
    ] = None,
) -> Any:
    """Build the options of a stage that scores completions, too."""
    return replace(options, reward_model=reward_model)


@dataclass(frozen=True)
class ExecutionOptions:
    """Options of `repro run` that decide how its stages are executed.

    Attributes:
        workers: None to choose by the machine.
        settings: fields of `Resources`; None for the scale's default.
    """

    backend: "Backend"
    cluster: "Cluster"
    workers: int | None
    settings: dict[str, Any]

    @property
    def most_workers(self) -> int | None:
        """Stages that may run at the same time; None to choose by the machine."""
        return 1 if self.backend == "none" else self.workers

    def at_scale(self, scale: "Scale", machine: dict[str, Any]) -> "Execution":
        """Return the execution of stages of this scale on this machine."""
        from repro.pipeline.cluster import MAX_JOBS, Execution
        from repro.planner.resources import resources_for
        from repro.planner.scales import workers_for

        resources = resources_for(scale, **self.settings)
        by_machine = MAX_JOBS if self.backend == "slurm" else workers_for(scale, machine, resources.ranks)
        return Execution(resources, self.workers or by_machine, self.backend, self.cluster)


def execution_options(
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Stages to run in parallel. Default: as many as fit this machine."),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            "--checkpoint-every",
            min=0,
            help="Optimiser steps between checkpoints; 0: none by steps. Default: 25 at toy scale, else 0.",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(
            "--checkpoint-minutes",
            min=0,
            help="Minutes of training between checkpoints; 0: none by time. Default: 10 above toy scale, else a quarter.",
        ),
    ] = None,
    ranks: Annotated[
        int,
        typer.Option(
            "--ranks",
            min=1,
            help="Minimum GPUs per stage; a stage that does not fit gets more. Training is data-parallel; generation and diagnoses are split.",
        ),
    ] = 1,
    shard: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(
            "--shard",
            help="Shard models over the GPUs of a training stage: auto (if they do not fit unsharded), always, never.",
        ),
    ] = "auto",
    tensor_parallel: Annotated[
        int,
        typer.Option(
            "--tensor-parallel", min=0, help="GPUs over which vLLM shards a sampled model; 0: the fewest that hold it."
        ),
    ] = 0,
    vllm_server: Annotated[
        int,
        typer.Option(
            "--vllm-server",
            min=0,
            help="GPUs for a separate vLLM server in training that samples with vLLM; 0: training and vLLM take turns on the same GPUs.",
        ),
    ] = 0,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", help="local: subprocesses. slurm: jobs, one level of the plan at a time. none: this process."
        ),
    ] = "local",
    cluster_file: Annotated[
        Path | None,
        typer.Option("--cluster-file", help="TOML file with the resource request of a Slurm job (docs/scale.md)."),
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster-option",
            metavar="KEY=VALUE",
            help="One key of the Slurm request, e.g. partition=gpu, gpus=8, hours=24, account=lab; repeatable. Overrides the file.",
        ),
    ] = None,
    micro_batch: MicroBatch = None,
    track: Track = None,
) -> ExecutionOptions:
    """Build the options of execution."""
    from repro.pipeline.cluster import parse_cluster
    from repro.training.tracking import check_tracker

    backend, job = parse_cluster(cluster, cluster_file, cluster_option or ())
    settings: dict[str, Any] = {"checkpoint_every": checkpoint_every, "checkpoint_minutes": checkpoint_minutes}
    settings |= {"micro_batch": micro_batch, "ranks": ranks, "shard": shard}
    settings |= {"tensor_parallel": tensor_parallel, "vllm_server": vllm_server}
    settings |= {"tracker": check_tracker(track)}
    return ExecutionOptions(backend, job, workers, settings)
