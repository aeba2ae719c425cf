"""Resources of a stage, and its layout on GPUs. Not part of its identity."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from repro.recipes.study import Scale

Shard = Literal["auto", "always", "never"]
MICRO_BATCH = 4
"""Maximum sequences per forward pass in training above toy scale."""


@dataclass(frozen=True)
class Layout:
    """Placement of a stage on its GPUs.

    Attributes:
        ranks: GPUs of the stage; in training, each processes different sequences.
        shard: shard trained and frozen models over the ranks (FSDP2); else each rank holds full copies (DDP).
        tensor_parallel: GPUs per copy of a sampled model; ranks / tensor_parallel copies sample concurrently.
        micro_batch: sequences per forward pass of training.
        vllm_server: GPUs, in addition to the ranks, of a vLLM server that samples completions for training.
    """

    ranks: int = 1
    shard: bool = False
    tensor_parallel: int = 1
    micro_batch: int = 1
    vllm_server: int = 0

    @property
    def gpus(self) -> int:
        """GPUs of the stage, including a server's."""
        return self.ranks + self.vllm_server


ONE_GPU = Layout()


@dataclass(frozen=True)
class Resources:
    """Resources that a stage may use.

    Attributes:
        micro_batch: maximum sequences per forward pass in training; None for a whole step at once.
        checkpoint_every: optimiser steps between checkpoints; 0 to disable.
        checkpoint_minutes: minutes of training between checkpoints; 0 to disable.
        threads: CPU threads per stage.
        ranks: minimum processes per stage on one machine, one per GPU; a stage that needs more GPUs gets more.
            Generation, diagnoses and off-policy training give the same numbers as one rank; on-policy training samples
            different completions from the same distribution (each rank its share, with its own random stream), so the
            record stores the ranks.
        gpus: the GPUs allocated to this stage (named as in `hardware.visible_gpus`); if empty, the first `ranks`
            visible ones.
        shard: shard models over the ranks in training: auto (if they do not fit otherwise), always, never.
        tensor_parallel: GPUs per vLLM copy of a sampled model; 0 for as few as fit it. This changes the order of sums,
            so individual tokens may differ (same distribution); the record stores it.
        vllm_server: GPUs (on a CPU: processes), in addition to the ranks, of a vLLM server that samples completions for
            training; 0 for an engine in the ranks' processes. The completions differ (same distribution); the record
            stores it.
        tracker: where training runs log metrics live (`repro.training.tracking`); "" for nowhere.
    """

    micro_batch: int | None = None
    checkpoint_every: int = 25
    checkpoint_minutes: float = 0.25
    threads: int = 1
    ranks: int = 1
    gpus: tuple[str, ...] = ()
    shard: Shard = "auto"
    tensor_parallel: int = 0
    vllm_server: int = 0
    tracker: str = ""

    @property
    def gpu_count(self) -> int:
        """GPUs per stage, including a server's."""
        return self.ranks + self.vllm_server

    @property
    def layout(self) -> Layout:
        """The layout of fully specified resources."""
        sharded = self.shard == "always"
        return Layout(self.ranks, sharded, self.tensor_parallel or 1, self.micro_batch or 1, self.vllm_server)

    def with_layout(self, layout: Layout) -> "Resources":
        """Return the resources with all open choices filled in."""
        return replace(
            self,
            ranks=layout.ranks,
            shard="always" if layout.shard else "never",
            tensor_parallel=layout.tensor_parallel,
            micro_batch=layout.micro_batch,
            vllm_server=layout.vllm_server,
        )


NO_CONSTRAINTS = Resources()


LARGE_MODELS = Resources(micro_batch=MICRO_BATCH, checkpoint_every=0, checkpoint_minutes=10.0, threads=8)


def resources_for(scale: Scale, **settings: Any) -> Resources:
    """Return a scale's default resources: toy models process a step at once, larger ones a few sequences at a time.

    Checkpoints are step-based at toy scale, where steps are fast, and time-based above, where a step takes seconds
    (small) to minutes (paper) and writing a checkpoint's gigabytes costs seconds.

    Args:
        settings: overrides of fields; None for the scale's default.
    """
    default = Resources() if scale == "toy" else LARGE_MODELS
    return replace(default, **{name: value for name, value in settings.items() if value is not None})
