"""Choose a stage's GPUs and layout: the fewest that fit, unsharded if possible.

The plan, the doctor, the pipeline and the arithmetic of docs/scale.md all use this module.
"""

from dataclasses import dataclass, replace
from typing import Any

from repro.planner.concurrency import sequences_at_once
from repro.planner.gpu_memory import gpu_memory
from repro.planner.resources import MICRO_BATCH, NO_CONSTRAINTS, Layout, Resources, Shard
from repro.planner.scales import DRIVER_GIB, REQUIREMENTS
from repro.planner.tokens import planned_sequences
from repro.recipes.assumed import assumed
from repro.recipes.study import Scale
from repro.stages import Stage
from repro.stages.workload import Workload

NODE = 8
"""GPUs of one node: a stage never spans several nodes."""
USABLE_SHARE = 0.9
"""Share of a card's memory a layout may fill, since the estimate is only accurate to perhaps a fifth. A fuller layout
is chosen only if no layout stays below it."""
LEAST_AT_ONCE = 32
"""ASSUMED: completions that a sampled model should have room for at once. With fewer, its weights are read for so few tokens that
a copy on more GPUs costs fewer GPU-hours: 21 of Gemma-3 27B's beside its weights on a card of 80 GB, 118 on two."""


@dataclass(frozen=True)
class Cards:
    """GPUs of one machine. gib: memory of the smallest, as CUDA reports it."""

    count: int
    gib: float


@dataclass(frozen=True)
class Placement:
    """A layout. memory: GiB per GPU; fits: every card has that much, and there are enough cards."""

    layout: Layout
    memory: float
    fits: bool


def machine_cards(machine: dict[str, Any]) -> Cards | None:
    """Return the machine's GPUs, or None if it has none. The machine's figures are nvidia-smi's."""
    sizes = [gpu["memory_gib"] for gpu in machine["gpus"]]
    return Cards(len(sizes), round(min(sizes) - DRIVER_GIB, 1)) if sizes else None


def planned_cards(scale: Scale, machine: dict[str, Any]) -> Cards | None:
    """Return the GPUs to plan with: this machine's, else those the scale needs; None if it needs none."""
    required = REQUIREMENTS[scale]
    if not required.gpus:
        return None
    return machine_cards(machine) or Cards(required.gpus, required.gpu_memory_gib)


def place(stage: Stage, cards: Cards, resources: Resources = NO_CONSTRAINTS) -> Placement:
    """Return the first layout that leaves room, also for completions (`LEAST_AT_ONCE`), else the least full on the fewest GPUs
    that fit, else the last one.

    Layouts are tried in this order: fewer GPUs first; for equal numbers, unsharded before sharded; then larger
    micro-batches first.

    Args:
        resources: the request, as a minimum (`ranks`, for a splittable stage) or maximum (`micro_batch`); the estimate
            decides what it leaves open.
    """
    tried: list[Placement] = []
    for layout in _layouts(stage.workload, cards.count, resources):
        memory = gpu_memory(stage, layout).total
        available = layout.gpus <= cards.count
        tried.append(Placement(layout, memory, available and memory <= cards.gib))
        if available and memory <= USABLE_SHARE * cards.gib and not _starves(stage, layout, cards.gib):
            return tried[-1]
    fitting = [placement for placement in tried if placement.fits]
    if not fitting:
        return tried[-1]
    first = fitting[0].layout
    alike = (p for p in fitting if (p.layout.gpus, p.layout.shard) == (first.gpus, first.shard))
    return min(alike, key=lambda placement: placement.memory)


def _starves(stage: Stage, layout: Layout, gib: float) -> bool:
    """Return True for a sampling stage whose model leaves room for few completions beside it."""
    workload = stage.workload
    if workload.trains or not workload.samples or workload.engine != "vllm":
        return False
    tokens = int(assumed("prompt tokens")) + workload.max_completion_tokens // 2
    return sequences_at_once(stage, gib, tokens, layout) < min(LEAST_AT_ONCE, planned_sequences(stage))


def describe_layout(layout: Layout) -> str:
    """Say how many GPUs there are, and how the models are placed on them."""
    if layout.vllm_server:
        ranks = describe_layout(replace(layout, vllm_server=0))
        return f"{ranks} + {layout.vllm_server} vLLM server"
    if layout.shard:
        return f"{layout.ranks} sharded"
    if layout.tensor_parallel > 1:
        return f"{layout.ranks} tensor parallel {layout.tensor_parallel}"
    return str(layout.ranks)


def describe_stage(stage: Stage) -> tuple[str, str]:
    """Return what the stage does and the base model it trains or samples (for other stages, the label)."""
    kind = stage.kind if stage.procedure == stage.kind else f"{stage.kind} {stage.procedure}"
    workload = stage.workload
    has_main_model = workload.trains or workload.writes_rollouts
    return kind, workload.main.base_model.name if workload.main and has_main_model else stage.label


def _layouts(workload: Workload, most: int, resources: Resources) -> list[Layout]:
    if workload.trains:
        server = resources.vllm_server if workload.samples_while_training else 0
        layouts = _training(workload.sequences_per_step, most - server, resources)
        return [replace(layout, vllm_server=server) for layout in layouts]
    ranks = resources.ranks if workload.can_split else 1
    if workload.samples and workload.engine == "vllm":
        spreads = [resources.tensor_parallel] if resources.tensor_parallel else [1, *_powers_of_two(1, most)]
        return [Layout(_gpus_of_copies(spread, ranks, most), tensor_parallel=spread) for spread in spreads]
    return [Layout(ranks)]


def _training(sequences: int, most: int, resources: Resources) -> list[Layout]:
    """Return the layouts to try.

    Args:
        sequences: per optimiser step; the ranks must share them evenly.
    """
    ranks = resources.ranks
    more = [count for count in _powers_of_two(ranks, most) if sequences % count == 0]
    counts = [ranks] if resources.shard == "never" else [ranks, *more]  # unsharded models do not shrink with more ranks
    shards: dict[Shard, tuple[bool, ...]] = {"auto": (False, True), "always": (True,), "never": (False,)}
    batches = [resources.micro_batch or MICRO_BATCH]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    layouts = [
        Layout(count, shard and count > 1, micro_batch=batch)
        for count in counts
        for shard in shards[resources.shard]
        for batch in batches
    ]
    return list(dict.fromkeys(layouts))


def _powers_of_two(least: int, most: int) -> list[int]:
    """Return the powers of two above `least`, up to a node's GPUs."""
    return [count for count in (2, 4, NODE) if least < count <= most]


def _gpus_of_copies(spread: int, ranks: int, most: int) -> int:
    """Return `ranks` rounded up to complete copies of the model, at most the available GPUs, at least one copy."""
    return max(spread, min(-(-ranks // spread), most // spread) * spread)
