"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from repro.errors import InputError

Out = Annotated[Path, typer.Option("--out", envvar="REPRO_OUT", help="Folder for results and cached stages.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable. See `repro settings`."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress: results only.")]
EngineOption = Annotated[str | None, typer.Option("--engine", help="What draws completions: transformers or vllm.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Task; repeatable. Default: the scale's tasks.")]
Data = Annotated[Path | None, typer.Option("--data", help="Rows of the task from a JSON-lines or Parquet file.")]
Items = Annotated[int | None, typer.Option("--items", help="Prompts per task.")]
Seed = Annotated[int, typer.Option("--seed", min=0)]
RewardModelName = Annotated[
    str | None, typer.Option("--reward-model", help="Scores open-ended tasks: a sequence classifier.")
]

ClusterName = Annotated[
    str,
    typer.Option(
        "--cluster", help="local: processes beside this one. slurm: jobs, a level at a time. none: in this process."
    ),
]
ClusterFile = Annotated[
    Path | None, typer.Option("--cluster-file", help="TOML of what a Slurm job asks for (docs/scale.md).")
]
ClusterOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster-option", metavar="KEY=VALUE", help="The same, e.g. partition=gpu, gpus=8, hours=24, account=lab."
    ),
]
Ranks = Annotated[
    int,
    typer.Option(
        "--ranks",
        min=1,
        help="GPUs of each stage, at least; one that they do not hold gets more: data parallel training, shared-out generation.",
    ),
]
ShardMode = Annotated[
    str,
    typer.Option(
        "--shard", help="Training with models in parts on its GPUs: auto (where they do not fit whole), always, never."
    ),
]
TensorParallel = Annotated[
    int,
    typer.Option("--tensor-parallel", min=0, help="GPUs of one model that vLLM samples from; 0: as few as hold it."),
]
VllmServer = Annotated[
    int,
    typer.Option(
        "--vllm-server",
        min=0,
        help="Training that draws by vLLM: a server on so many further GPUs; 0: the trainers' own, in turn with them.",
    ),
]
MicroBatch = Annotated[
    int | None,
    typer.Option("--micro-batch", min=1, help="Sequences per forward pass in training, at most; not the result."),
]


def parse_shard(asked: str) -> Any:
    """--shard, checked."""
    if asked not in ("auto", "always", "never"):
        raise InputError(f"--shard {asked}: choose from auto, always, never")
    return asked


def with_engine(sets: list[str] | None, engine: str | None) -> list[str]:
    """The `key=value` wishes with the engine among them."""
    return [*(sets or []), *([f"engine={engine}"] if engine else [])]


def options_from(
    task: list[str] | None,
    data: Path | None,
    items: int | None,
    reward_model: str | None,
    sets: list[str] | None,
    engine: str | None,
    seed: int,
) -> Any:
    """What a person asked of a command on their own models."""
    from repro.workflow.own_models import StageOptions

    return StageOptions(tuple(task or ()), data, items, reward_model, with_engine(sets, engine), seed)
