"""What a stage may use. Not identity: the same stage gives the same result with other resources."""

from dataclasses import dataclass, replace

from repro.planner.placement import MICRO_BATCH, Shard


@dataclass(frozen=True)
class Resources:
    """What a stage may use.

    Attributes:
        micro_batch: sequences per forward pass in training, at most; None for a whole step at once.
        checkpoint_every: optimiser steps between checkpoints; 0 for none.
        threads: CPU threads of one stage.
        ranks: processes of one stage on one machine, one per GPU, at least: a stage that fewer GPUs do not hold gets more.
            Generation and off-policy training give the numbers of one; on-policy training draws other completions (each
            its share, by its own random stream) under the same law, which is why the record tells the ranks.
        gpus: the GPUs lent to this stage (`machine.visible_gpus` names); none: the first `ranks` of those it sees.
        shard: training with models in parts on the ranks: auto where they do not fit whole, always, never.
        tensor_parallel: GPUs that vLLM spreads one copy of a sampled model over; 0 for as few as hold it. Sums are then
            taken in another order, so a token may be another one under the same law, and the record tells it.
        vllm_server: GPUs (on a CPU: processes), beside the ranks, of a vLLM server that draws the completions of training;
            0 for an engine in the ranks' own processes. The completions are others under the same law, and the record
            tells it.
    """

    micro_batch: int | None = None
    checkpoint_every: int = 25
    threads: int = 1
    ranks: int = 1
    gpus: tuple[str, ...] = ()
    shard: Shard = "auto"
    tensor_parallel: int = 0
    vllm_server: int = 0

    @property
    def gpu_count(self) -> int:
        """Of one stage."""
        return self.ranks + self.vllm_server


def resources_for(
    toy: bool,
    checkpoint_every: int | None = None,
    micro_batch: int | None = None,
    *,
    ranks: int = 1,
    shard: Shard = "auto",
    tensor_parallel: int = 0,
    vllm_server: int = 0,
) -> Resources:
    """Toy stages take their steps whole; larger models go through the GPU a few sequences at a time."""
    usual = Resources() if toy else Resources(micro_batch=MICRO_BATCH, checkpoint_every=10, threads=8)
    return replace(
        usual,
        checkpoint_every=usual.checkpoint_every if checkpoint_every is None else checkpoint_every,
        micro_batch=micro_batch or usual.micro_batch,
        ranks=ranks,
        shard=shard,
        tensor_parallel=tensor_parallel,
        vllm_server=vllm_server,
    )
