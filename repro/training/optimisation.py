"""What every trainer of the kit is told the same way: the order of the prompts, how an optimiser step is cut
into micro-batches, and the arguments that do not belong to one method.

AdamW without weight decay, the learning rate linear to zero, gradients clipped at norm 1, dropout off.
"""

import random
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.training.resources import TrainingResources

LARGE = 1_000_000_000  # parameters from which activations are recomputed in the backward pass instead of kept


def training_order(count: int, draws: int, seed: int) -> list[int]:
    """Which item each draw takes: seeded permutations of range(count), one after the other, cut at `draws`.

    Every method with the same items and seed walks the same prompts in the same order.
    """
    rng = random.Random(seed)
    order: list[int] = []
    while len(order) < draws:
        order.extend(rng.sample(range(count), count))
    return order[:draws]


def ranks() -> int:
    """Data-parallel processes of this run, as torchrun or accelerate started them."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available()).num_processes  # unasked, it overlooks CPU processes


def cut_step(sequences: int, micro_batch: int | None, ranks: int) -> tuple[int, int]:
    """(sequences per device and forward, forwards per step): their product with `ranks` is `sequences`.

    Args:
        sequences: completions in one optimiser step, over all ranks.
        micro_batch: the most that one device takes at once; None for all of its share. The largest divisor
            of the share that is not above it is used, so that the step never changes.
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
    return size, share // size


def trainer_arguments(
    *,
    work: Path,
    steps: int,
    learning_rate: float,
    warmup_fraction: float,
    seed: int,
    cut: tuple[int, int],
    parameters: int,
    resources: TrainingResources,
) -> dict[str, Any]:
    """Keyword arguments that TRL's GRPOConfig, DistillationConfig and SFTConfig all take.

    Args:
        cut: what `cut_step` gave.
        parameters: of the trained model; decides gradient checkpointing: less memory, the same result.
        resources: checkpoints, written below `work`, and full sharding (`sharding`).
    """
    import torch

    from repro.training import output_layer
    from repro.training.sharding import shard_arguments

    output_layer.install()
    cuda = torch.cuda.is_available()
    return (shard_arguments() if resources.shard else {}) | {
        "output_dir": str(work),
        "max_steps": steps,
        "per_device_train_batch_size": cut[0],
        "gradient_accumulation_steps": cut[1],
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": round(warmup_fraction * steps),
        "optim": "adamw_torch",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not cuda,
        "bf16": cuda,  # autocast; the weights stay float32, so merging and unmerging an adapter moves nothing
        "gradient_checkpointing": parameters >= LARGE,
        "dataloader_pin_memory": cuda,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not finite must show
        "save_strategy": "steps" if resources.checkpoint_every else "no",
        "save_steps": resources.checkpoint_every or steps,
        "save_total_limit": 2,  # the newest may not be complete yet when the one before it goes
        "report_to": "none",
        "disable_tqdm": True,
    }
