"""Where a stage runs: folders, its share of the machine, its server. None of it is identity."""

import logging
from dataclasses import dataclass
from pathlib import Path

from repro.errors import InputError
from repro.generation.server import ServerPlacement
from repro.planner.resources import Resources
from repro.progress import Progress
from repro.training.resources import TrainingResources


@dataclass(frozen=True)
class StageContext:
    """Where a stage runs. None of it is identity.

    Attributes:
        cache: holds the artifact folders.
        work: this stage's own scratch (checkpoints, finished chunks); kept after a kill, removed after success.
        resources: with every open choice decided.
        training: the same for a trainer, with its vLLM server's GPUs.
    """

    cache: Path
    work: Path
    progress: Progress
    resources: Resources
    training: TrainingResources


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
    training = TrainingResources(
        micro_batch=resources.micro_batch,
        checkpoint_every=resources.checkpoint_every,
        shard=resources.shard == "always",
        server=server,
    )
    return StageContext(cache, work, progress, resources, training)


def configure_libraries(resources: Resources) -> None:
    import torch
    import transformers

    torch.set_num_threads(resources.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
