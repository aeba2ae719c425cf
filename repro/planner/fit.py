"""Assign GPUs to each stage of a study, and find stages that do not fit into GPU or host memory."""

from dataclasses import dataclass, replace

from repro.planner.host_memory import host_memory
from repro.planner.placement import Cards, Placement, describe_stage, machine_cards, place, planned_cards
from repro.planner.resources import Layout, Resources
from repro.recipes.study import Study
from repro.stages import Stage
from repro.system.hardware import hardware


def placements(study: Study, stages: list[Stage], resources: Resources, cards: Cards | None = None) -> list[Placement]:
    """Place each stage on these GPUs; empty for a scale without GPUs.

    Args:
        cards: None for this machine's, or those the scale needs if it has none.
    """
    cards = cards or planned_cards(study.scale, hardware())
    return [_place(stage, cards, resources) for stage in stages] if cards else []


def _place(stage: Stage, cards: Cards, resources: Resources) -> Placement:
    """Place a stage on at most as many ranks as there are cards."""
    return place(stage, cards, replace(resources, ranks=min(resources.ranks, cards.count)))


def unplaceable(study: Study, stages: list[Stage], resources: Resources, workers: int | None = None) -> list[str]:
    """Describe stages estimated not to fit into GPU or host memory, each with a fix; equal ones share a line.

    Args:
        workers: maximum number of concurrent stages; None for as many as there are GPUs for.
    """
    cards = planned_cards(study.scale, hardware())
    if cards is None:
        return []
    return _exceeding_host(stages, resources, workers) + _exceeding_gpus(stages, resources, cards, "there are")


@dataclass(frozen=True)
class JobNeeds:
    """What stages need of the Slurm jobs that run them.

    Attributes:
        too_large: the stages estimated not to fit into a job's GPUs, each with a fix; equal ones share a line.
        cpus: threads of the stage that uses most.
        host_gib: host memory of the stage that needs most.
    """

    too_large: list[str]
    cpus: int
    host_gib: float


def job_needs(stages: list[Stage], resources: Resources, cards: Cards) -> JobNeeds:
    """Return what these stages need on the GPUs of a job."""
    layouts = [_place(stage, cards, resources).layout for stage in stages]
    return JobNeeds(
        too_large=_exceeding_gpus(stages, resources, cards, "a job has"),
        cpus=resources.threads * max((layout.gpus for layout in layouts), default=0),
        host_gib=max((host_memory(stage, layout).total for stage, layout in zip(stages, layouts)), default=0.0),
    )


def _exceeding_gpus(stages: list[Stage], resources: Resources, cards: Cards, owner: str) -> list[str]:
    """Describe the stages that do not fit into the memory of these GPUs.

    Args:
        owner: who has them, as the subject of a sentence.
    """
    alike: dict[tuple[str, str, int, str], list[str]] = {}
    for stage in stages:
        placement = _place(stage, cards, resources)
        if not placement.fits:
            advice = _advice(stage, placement.layout, cards)
            key = (*describe_stage(stage), round(placement.memory), advice)
            alike.setdefault(key, []).append(_describe_gpus(stage, placement.layout))
    return [
        f"{kind} of {model}, {len(gpus)} stage(s): about {gib} GiB on each of {gpus[0]}, but {owner}"
        f" {cards.count} GPU(s) with {cards.gib:g} GiB each: {advice}"
        for (kind, model, gib, advice), gpus in alike.items()
    ]


def _exceeding_host(stages: list[Stage], resources: Resources, workers: int | None) -> list[str]:
    """Describe the stages that do not fit into host memory while models are loaded or saved.

    If each fits by itself, describe those that do not fit when running concurrently, as many as have GPUs. A machine
    without GPUs gets no line: it is refused anyway.
    """
    machine = hardware()
    cards = machine_cards(machine)
    if cards is None or not stages:
        return []
    available = machine["memory_gib"]
    alike: dict[tuple[str, str, int, int], int] = {}
    side_by_side: list[tuple[float, float, str]] = []
    for stage in stages:
        layout = _place(stage, cards, resources).layout
        gib = host_memory(stage, layout).total
        if gib > available:
            key = (*describe_stage(stage), layout.ranks, round(gib))
            alike[key] = alike.get(key, 0) + 1
        most = max(1, min(cards.count // layout.gpus, workers or cards.count))
        side_by_side.append((gib * most, gib, stage.label))
    lines = [
        f"{kind} of {model}, {count} stage(s): about {gib} GiB of host memory for {ranks} process(es), but this machine"
        f" (or its cgroup) has {available:g} GiB: use fewer --ranks if the GPUs allow it, or a machine with more memory"
        for (kind, model, ranks, gib), count in alike.items()
    ]
    together, gib, label = max(side_by_side)
    if not lines and together > available:
        lines.append(
            f"running stages like {label} in parallel needs about {together:.0f} GiB of host memory, but this machine has {available:g} GiB:"
            f" use --workers {max(1, int(available // gib))}"
        )
    return lines


def _describe_gpus(stage: Stage, layout: Layout) -> str:
    batch = ", one sequence at a time" if stage.workload.trains else ""
    return f"{layout.gpus} GPU(s){' with the models sharded' if layout.shard else ''}{batch}"


def _advice(stage: Stage, layout: Layout, cards: Cards) -> str:
    """Say what would make the stage fit: fewer options, more GPUs of this kind, else a smaller workload."""
    unconstrained = Resources(micro_batch=1)
    if _place(stage, cards, unconstrained).fits:
        return "leave out --shard, --tensor-parallel and --vllm-server: the planner then chooses a layout that fits"
    larger = (count for count in (2, 4, 8) if count > cards.count)
    more = next((count for count in larger if _place(stage, replace(cards, count=count), unconstrained).fits), None)
    if more:
        return f"use {more} such GPUs in one machine: the models are then sharded over them"
    if not (stage.workload.trains or stage.workload.samples):
        return "choose smaller models or GPUs with more memory: this kind of stage needs whole models on each GPU"
    return "shorten the completions (max_completion_tokens), or choose smaller models or GPUs with more memory"
