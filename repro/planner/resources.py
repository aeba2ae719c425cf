"""Resources of a stage, and its layout on GPUs. Not identity: the stage is the same with other resources."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from repro.recipes.study import Scale

Shard = Literal["auto", "always", "never"]
MICRO_BATCH = 4
"""Sequences per forward pass in training above toy scale, at most."""


@dataclass(frozen=True)
class Layout:
    """Placement of a stage on its GPUs.

    Attributes:
        ranks: GPUs of the stage; in training each holds other sequences.
        shard: trained and frozen models sharded over the ranks (FSDP2); else each rank holds them entirely (DDP).
        tensor_parallel: GPUs that one copy of a sampled model is spread over; `ranks` / it copies sample side by side.
        micro_batch: sequences in one forward pass of training.
        vllm_server: GPUs, besides the ranks, of a vLLM server that samples the completions of training.
    """

    ranks: int = 1
    shard: bool = False
    tensor_parallel: int = 1
    micro_batch: int = 1
    vllm_server: int = 0

    @property
    def gpus(self) -> int:
        """GPUs of the stage, server included."""
        return self.ranks + self.vllm_server


ONE_GPU = Layout()


@dataclass(frozen=True)
class Resources:
    """Resources that a stage may use.

    Attributes:
        micro_batch: sequences per forward pass in training, at most; None for a complete step at once.
        checkpoint_every: optimiser steps between checkpoints; 0 for none by steps.
        checkpoint_minutes: minutes of training between checkpoints; 0 for none by time.
        threads: CPU threads of one stage.
        ranks: processes of one stage on one machine, one per GPU, at least: a stage that fewer GPUs do not hold gets more.
            Generation, diagnoses and off-policy training give the numbers of one rank; on-policy training samples different
            completions
            from the same distribution (each rank its share, by its own random stream), so the record stores the ranks.
        gpus: the GPUs allocated to this stage (names as in `hardware.visible_gpus`); none: the first `ranks` visible ones.
        shard: training with models sharded over the ranks: auto (if they do not fit otherwise), always, never.
        tensor_parallel: GPUs that vLLM spreads one copy of a sampled model over; 0 for as few as hold it. Sums are then
            taken in another order, so single tokens may differ (same distribution); the record stores it.
        vllm_server: GPUs (on a CPU: processes), besides the ranks, of a vLLM server that samples the completions of training;
            0 for an engine in the ranks' own processes. The completions differ (same distribution); the record stores it.
        tracker: where trainings log their figures while they run (`repro.training.tracking`); "" for nowhere.
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
        """GPUs of one stage, server included."""
        return self.ranks + self.vllm_server

    @property
    def layout(self) -> Layout:
        """The layout of resources that leave nothing open."""
        sharded = self.shard == "always"
        return Layout(self.ranks, sharded, self.tensor_parallel or 1, self.micro_batch or 1, self.vllm_server)

    def with_layout(self, layout: Layout) -> "Resources":
        """Return the resources with everything that was left open decided."""
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
    """Return the resources of a scale's stages: toy models take a step at once, larger ones a few sequences at a time.

    Checkpoints are by steps at toy scale, where a step takes a moment, and by time above it, where one takes seconds (small)
    to minutes (paper) and a checkpoint's gigabytes cost seconds.

    Args:
        settings: other values of fields; None for the scale's default.
    """
    default = Resources() if scale == "toy" else LARGE_MODELS
    return replace(default, **{name: value for name, value in settings.items() if value is not None})
