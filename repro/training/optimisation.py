"""Optimisation settings shared by all trainers: prompt order, micro-batches, and trainer arguments.

AdamW without weight decay, linear learning rate decay to zero, gradient clipping at norm 1, no dropout.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from repro.errors import InputError
from repro.tasks.task import Item
from repro.training.resources import TrainingResources
from repro.training.tracking import tracking_arguments

LARGE = 1_000_000_000  # parameters; models of this size or larger use gradient checkpointing
RANK_TIMEOUT = timedelta(hours=24)
"""How long a rank waits while another samples or saves; a dead rank ends the run at once."""


def training_order(count: int, visits: int, seed: int) -> list[int]:
    """Return the item of each visit: consecutive seeded permutations of range(count), cut at `visits`.

    Every method with the same items and seed visits the same prompts in the same order.
    """
    rng = random.Random(seed)
    order: list[int] = []
    while len(order) < visits:
        order.extend(rng.sample(range(count), count))
    return order[:visits]


def prompt_rows(items: Sequence[Item], visits: int, seed: int, rollouts: int = 1) -> list[dict[str, Any]]:
    """Return the rows of on-policy training, in `training_order`: a chat prompt and its item's index.

    Args:
        rollouts: consecutive rows per visit of a prompt, one for each completion.
    """
    return [
        {"prompt": [{"role": "user", "content": items[i].prompt}], "item": i}
        for i in training_order(len(items), visits, seed)
        for _ in range(rollouts)
    ]


def data_parallel_ranks() -> int:
    """Return the number of data-parallel processes of this run, as started by torchrun or accelerate.

    The first call initialises the process group.
    """
    import torch
    from accelerate import PartialState

    # Without `cpu` it ignores CPU processes; the trainer's `ddp_timeout` comes too late for an existing group
    return PartialState(cpu=not torch.cuda.is_available(), timeout=RANK_TIMEOUT).num_processes


class StepCut(NamedTuple):
    """One optimiser step on one device: `forwards` micro-batches of `size` sequences."""

    size: int
    forwards: int


def cut_step(sequences: int, micro_batch: int | None, ranks: int) -> StepCut:
    """Split a step into micro-batches: size * forwards * ranks is `sequences`.

    Args:
        sequences: completions in one optimiser step, over all ranks.
        micro_batch: most sequences per device at once; None for its whole share. The largest divisor of the share up
            to this is used, so that the step never changes.
        ranks: data-parallel processes.

    Raises:
        InputError: the ranks cannot share the step evenly.
    """
    if sequences % ranks:
        raise InputError(
            f"{sequences} completions in a step do not divide over {ranks} processes: use a number of"
            f" processes that divides {sequences}."
        )
    share = sequences // ranks
    most = min(max(micro_batch or share, 1), share)
    size = next(n for n in range(most, 0, -1) if share % n == 0)
    return StepCut(size, share // size)


def trainer_arguments(
    *,
    work: Path,
    steps: int,
    learning_rate: float,
    warmup_fraction: float,
    seed: int,
    sequences: int,
    parameters: int,
    resources: TrainingResources,
) -> dict[str, Any]:
    """Return the arguments that TRL's GRPOConfig, DistillationConfig and SFTConfig have in common.

    Args:
        work: folder for checkpoints.
        sequences: completions in one optimiser step, over all ranks.
        parameters: parameters of the trained model; decides gradient checkpointing (less memory, same result).

    Raises:
        InputError: the ranks cannot share the step evenly.
    """
    import torch

    from repro.training.sharding import shard_arguments

    has_gpu = torch.cuda.is_available()
    cut = cut_step(sequences, resources.micro_batch, data_parallel_ranks())
    return (shard_arguments() if resources.shard else {}) | {
        "output_dir": str(work),
        "max_steps": steps,
        "per_device_train_batch_size": cut.size,
        "gradient_accumulation_steps": cut.forwards,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": round(warmup_fraction * steps),
        "optim": "adamw_torch_fused"
        if has_gpu
        else "adamw_torch",  # the alternative copies the weights at each step on a GPU
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not has_gpu,
        "bf16": has_gpu,  # autocast; the weights stay float32, so merging and unmerging an adapter is exact
        "gradient_checkpointing": parameters >= LARGE,
        "dataloader_pin_memory": has_gpu,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not finite must show
        "save_strategy": "steps" if resources.checkpoint_every else "no",
        "save_steps": resources.checkpoint_every or steps,
        "save_total_limit": 2,  # the newest may still be incomplete when an older one is removed
        "ddp_timeout": int(RANK_TIMEOUT.total_seconds()),
        "disable_tqdm": True,
        **tracking_arguments(resources.tracker, work),
    }
