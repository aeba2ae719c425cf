"""How many GPUs a stage gets, and how it lies on them: as few as hold it, whole where that fits, in parts where not.

One place for it: the plan, the doctor, the pipeline and the arithmetic of docs/scale.md all ask here.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from repro.planner.gpu_memory import Layout, gpu_memory, samples_while_training
from repro.planner.scales import REQUIREMENTS
from repro.recipes.study import Scale
from repro.stages import BaseModelRef, Calibrate, Classify, Continue, Distill, Evaluate, Sample, Stage

Shard = Literal["auto", "always", "never"]
MICRO_BATCH = 4
"""Sequences per forward pass in training above toy scale, at most."""
NODE = 8
"""GPUs of one node: a stage does not leave it."""
USABLE_SHARE = 0.9
"""Share of a card that a layout is chosen for: the estimate is good to perhaps a fifth. What fits with less room is taken
where nothing leaves more."""
SPLIT = (Calibrate, Sample, Distill, Evaluate)
"""Stages that `--ranks` splits."""


@dataclass(frozen=True)
class Cards:
    """GPUs of one machine. gib: memory of the smallest."""

    count: int
    gib: float


@dataclass(frozen=True)
class Placement:
    """memory: GiB on each GPU. fits: whether that is no more than the card has, and there are so many cards."""

    layout: Layout
    memory: float
    fits: bool


def machine_cards(machine: dict[str, Any]) -> Cards | None:
    """The machine's GPUs; None without any."""
    each = [gpu["memory_gib"] for gpu in machine["gpus"]]
    return Cards(len(each), min(each)) if each else None


def planned_cards(scale: Scale, machine: dict[str, Any]) -> Cards | None:
    """The GPUs that a plan counts with: this machine's, else those that the scale needs; None where it needs none."""
    need = REQUIREMENTS[scale]
    if not need.gpus:
        return None
    return machine_cards(machine) or Cards(need.gpus, need.gpu_memory_gib)


def place(
    stage: Stage,
    cards: Cards,
    *,
    ranks: int = 1,
    micro_batch: int = MICRO_BATCH,
    shard: Shard = "auto",
    tensor_parallel: int = 0,
    vllm_server: int = 0,
) -> Placement:
    """The first layout that leaves room, else the first that fits, else the last one: more GPUs only where fewer do not
    hold the stage; on as many GPUs whole before sharded; then fewer sequences at once.

    Args:
        ranks: GPUs at least, of a stage that can be split.
        micro_batch: sequences in one forward pass, at most.
        shard: auto: where the stage does not fit whole.
        tensor_parallel: GPUs of one copy of a sampled model; 0 for as few as hold it.
        vllm_server: GPUs of a vLLM server for training that draws by vLLM, beside its ranks.
    """
    tried: list[Placement] = []
    for layout in _layouts(stage, cards.count, ranks, micro_batch, shard, tensor_parallel, vllm_server):
        need = gpu_memory(stage, layout).total
        there = layout.gpus <= cards.count
        tried.append(Placement(layout, need, there and need <= cards.gib))
        if there and need <= USABLE_SHARE * cards.gib:
            return tried[-1]
    return next((one for one in tried if one.fits), tried[-1])


def uses_gpu(stage: Stage) -> bool:
    """Whether the stage runs a model here: rules do not, and neither does who asks a server."""
    return not isinstance(stage, Classify) or isinstance(stage.judge, BaseModelRef)


def describe_layout(layout: Layout) -> str:
    """How many GPUs, and how the models lie on them."""
    if layout.vllm_server:
        ranks = describe_layout(replace(layout, vllm_server=0))
        return f"{ranks} + {layout.vllm_server} vLLM server"
    if layout.shard:
        return f"{layout.ranks} sharded"
    if layout.tensor_parallel > 1:
        return f"{layout.ranks} tensor parallel {layout.tensor_parallel}"
    return str(layout.ranks)


def describe_stage(stage: Stage) -> tuple[str, str]:
    """What the stage does, and the model from outside that it trains or runs."""
    model = stage.model if isinstance(stage, Sample | Evaluate) else stage
    name = model.base_model.name if isinstance(model, BaseModelRef | Calibrate | Distill) else stage.label
    return f"{stage.does} {stage.config.method}" if isinstance(stage, Distill) else stage.does, name


def _layouts(
    stage: Stage, most: int, ranks: int, micro_batch: int, shard: Shard, tensor_parallel: int, vllm_server: int
) -> list[Layout]:
    if isinstance(stage, Calibrate | Distill):
        apart = vllm_server if samples_while_training(stage) else 0
        ways = _training(_sequences(stage), most - apart, ranks, micro_batch, shard)
        return [replace(way, vllm_server=apart) for way in ways]
    sampled = stage.after if isinstance(stage, Continue) else stage
    if isinstance(sampled, Sample | Evaluate) and sampled.config.engine == "vllm":
        spreads = [tensor_parallel] if tensor_parallel else [1, *_more(1, most)]
        copies = ranks if stage is sampled else 1  # the other kind is not split
        return [Layout(_multiple(spread, copies, most), False, spread) for spread in spreads]
    return [Layout(ranks if isinstance(stage, SPLIT) else 1)]


def _training(sequences: int, most: int, ranks: int, micro_batch: int, shard: Shard) -> list[Layout]:
    more = [count for count in _more(ranks, most) if sequences % count == 0]
    counts = [ranks] if shard == "never" else [ranks, *more]  # whole models do not shrink with more ranks
    ways = {"auto": (False, True), "always": (True,), "never": (False,)}[shard]
    batches = [micro_batch]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    every = [Layout(n, way and n > 1, 1, batch) for n in counts for way in ways for batch in batches]
    return list(dict.fromkeys(every))


def _sequences(stage: Calibrate | Distill) -> int:
    """Of one optimiser step: the ranks must share them evenly."""
    if isinstance(stage, Calibrate):
        return stage.config.prompts_per_step * stage.config.group_size
    return stage.config.sequences_per_step


def _more(least: int, most: int) -> list[int]:
    """The powers of two above `least`, up to a node's GPUs."""
    return [count for count in (2, 4, NODE) if least < count <= most]


def _multiple(spread: int, ranks: int, most: int) -> int:
    """GPUs of whole copies: `ranks` rounded up, no more than there are, one copy at least."""
    return max(spread, min(-(-ranks // spread), most // spread) * spread)
