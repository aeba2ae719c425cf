"""Where a stage runs: folders, its share of the machine, its server. None of it is identity."""

import logging
from dataclasses import dataclass
from pathlib import Path

from repro.errors import InputError
from repro.generation.server import ServerPlacement
from repro.planner.resources import Resources
from repro.progress import Progress


@dataclass(frozen=True)
class StageContext:
    """Where a stage runs. None of it is identity.

    Attributes:
        cache: holds the artifact folders.
        work: this stage's own scratch (checkpoints, finished chunks); kept after a kill, removed after success.
        micro_batch: sequences per forward pass in training; None for all of a step at once.
        checkpoint_every: optimiser steps between checkpoints; 0 for none.
        shard: train with models in parts on the ranks.
        tensor_parallel: GPUs that vLLM spreads a sampled model over.
        server: where a vLLM server draws for training; None for the trainers' own processes.
    """

    cache: Path
    work: Path
    progress: Progress
    micro_batch: int | None
    checkpoint_every: int
    shard: bool = False
    tensor_parallel: int = 1
    server: ServerPlacement | None = None


def make_context(cache: Path, work: Path, progress: Progress, resources: Resources) -> StageContext:
    """Where a stage runs, with all that is decided of its resources.

    Raises:
        InputError: fewer GPUs than its ranks and its vLLM server want.
    """
    server = None
    if resources.vllm_server:
        own = tuple(resources.gpus[resources.ranks :])
        if resources.gpus and len(own) < resources.vllm_server:
            raise InputError(
                f"--vllm-server {resources.vllm_server} beside {resources.ranks} rank(s): the stage has"
                f" {len(resources.gpus)} GPU(s). Ask for more, or leave --vllm-server out."
            )
        server = ServerPlacement(resources.vllm_server, own)
    return StageContext(
        cache=cache,
        work=work,
        progress=progress,
        micro_batch=resources.micro_batch,
        checkpoint_every=resources.checkpoint_every,
        shard=resources.shard == "always",
        tensor_parallel=resources.tensor_parallel or 1,
        server=server,
    )


def configure_libraries(resources: Resources) -> None:
    import torch
    import transformers

    torch.set_num_threads(resources.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
