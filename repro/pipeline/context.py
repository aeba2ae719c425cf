"""The context of a running stage: folders, progress, resources, server. It is not part of the stage's identity."""

import logging
from dataclasses import dataclass
from pathlib import Path

from repro.errors import InputError
from repro.generation.server import ServerPlacement
from repro.planner.resources import Resources
from repro.progress import Progress
from repro.system.freed_memory import keep_freed_memory
from repro.training.resources import TrainingResources


@dataclass(frozen=True)
class StageContext:
    """The context of a running stage.

    Attributes:
        cache: the parent of the artifact folders.
        work: the stage's scratch folder (checkpoints, finished chunks); kept after a kill, removed on success.
        resources: resolved, see `gpu_pool.resolve_layout`.
        training: the subset a trainer uses, including the GPUs of its vLLM server.
    """

    cache: Path
    work: Path
    progress: Progress
    resources: Resources
    training: TrainingResources


def make_context(cache: Path, work: Path, progress: Progress, resources: Resources) -> StageContext:
    """Return the context of a stage with resolved resources.

    Raises:
        InputError: fewer GPUs than the stage's ranks and vLLM server need.
    """
    training = TrainingResources(
        micro_batch=resources.micro_batch,
        checkpoint_every=resources.checkpoint_every,
        checkpoint_minutes=resources.checkpoint_minutes,
        shard=resources.shard == "always",
        tracker=resources.tracker,
        event_files=cache.parent / "tensorboard" / work.name if resources.tracker == "tensorboard" else None,
        server=_server_placement(resources) if resources.vllm_server else None,
    )
    return StageContext(cache, work, progress, resources, training)


def _server_placement(resources: Resources) -> ServerPlacement:
    gpus = tuple(resources.gpus[resources.ranks :])
    if resources.gpus and len(gpus) < resources.vllm_server:
        raise InputError(
            f"--vllm-server {resources.vllm_server} and {resources.ranks} rank(s): the stage has"
            f" {len(resources.gpus)} GPU(s). Request more, or leave out --vllm-server."
        )
    return ServerPlacement(resources.vllm_server, gpus)


def configure_libraries(resources: Resources) -> None:
    """Set torch's thread count, keep freed memory, and silence transformers."""
    import torch
    import transformers

    keep_freed_memory()
    torch.set_num_threads(resources.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
