"""Which GPUs each stage of a study will have, and which stages they, or the host's memory, do not hold."""

from repro.planner.gpu_memory import Layout
from repro.planner.host_memory import host_memory
from repro.planner.placement import MICRO_BATCH, Cards, Placement, describe_stage, machine_cards, place, planned_cards
from repro.planner.resources import Resources
from repro.recipes.study import Study
from repro.stages import Calibrate, Distill, Evaluate, Sample, Stage
from repro.system.hardware import hardware


def placements(study: Study, stages: list[Stage], resources: Resources) -> list[Placement]:
    """Each stage on this machine's GPUs, else on those that the scale needs; none at a scale that needs none."""
    cards = planned_cards(study.scale, hardware())
    return [place_with_resources(stage, resources, cards) for stage in stages] if cards else []


def place_with_resources(stage: Stage, resources: Resources, cards: Cards) -> Placement:
    """What was asked for, and the estimate for the rest."""
    return place(
        stage,
        cards,
        ranks=min(resources.ranks, cards.count),
        micro_batch=resources.micro_batch or MICRO_BATCH,
        shard=resources.shard,
        tensor_parallel=resources.tensor_parallel,
        vllm_server=resources.vllm_server,
    )


def unplaceable(study: Study, stages: list[Stage], resources: Resources, workers: int | None = None) -> list[str]:
    """Stages that the GPUs or the host's memory do not hold by the estimate, however they are laid out, with the mend; those
    that are alike in one line.

    Args:
        workers: stages side by side, at most; None for as many as there are GPUs for.
    """
    cards = planned_cards(study.scale, hardware())
    if cards is None:
        return []
    alike: dict[tuple[str, str, int, str], list[Stage]] = {}
    for stage in stages:
        placed = place_with_resources(stage, resources, cards)
        if not placed.fits:
            words = _mend(stage, placed.layout, resources, cards)
            alike.setdefault((*describe_stage(stage), round(placed.memory), words), []).append(stage)
    return _host(stages, resources, workers) + [
        f"{kind} of {model}, {len(same)} stage(s): about {need} GiB on each of {_gpus(same[0], resources, cards)}, which has"
        f" {cards.gib:g}: {words}"
        for (kind, model, need, words), same in alike.items()
    ]


def _host(stages: list[Stage], resources: Resources, workers: int | None) -> list[str]:
    """Stages that this machine's memory does not hold while models are loaded or saved; else whether as many of them as
    have GPUs do not fit side by side. Nothing of a machine without GPUs: it is refused as a whole."""
    machine = hardware()
    cards = machine_cards(machine)
    if cards is None or not stages:
        return []
    have = machine["memory_gib"]
    alike: dict[tuple[str, str, int, int], list[Stage]] = {}
    beside: list[tuple[float, float, str]] = []
    for stage in stages:
        layout = place_with_resources(stage, resources, cards).layout
        need = host_memory(stage, layout).total
        if need > have:
            alike.setdefault((*describe_stage(stage), layout.ranks, round(need)), []).append(stage)
        most = max(1, min(cards.count // layout.gpus, workers or cards.count))
        beside.append((need * most, need, stage.label))
    lines = [
        f"{kind} of {model}, {len(same)} stage(s): about {need} GiB of host memory for {ranks} process(es), and this machine"
        f" (or its control group) has {have:g}: use fewer --ranks where its GPUs allow, or a machine with more memory"
        for (kind, model, ranks, need), same in alike.items()
    ]
    together, need, label = max(beside)
    if not lines and together > have:
        lines.append(
            f"{label} and its like side by side: about {together:.0f} GiB of host memory, of {have:g} here:"
            f" use --workers {max(1, int(have // need))}"
        )
    return lines


def _gpus(stage: Stage, resources: Resources, cards: Cards) -> str:
    layout = place_with_resources(stage, resources, cards).layout
    batch = ", one sequence at a time" if isinstance(stage, Calibrate | Distill) else ""
    return f"{layout.gpus} GPU(s){' with the models in parts' if layout.shard else ''}{batch}"


def _mend(stage: Stage, layout: Layout, resources: Resources, cards: Cards) -> str:
    """What would hold it: what was ruled out, more GPUs of this kind, else less to hold."""
    open_ = Resources(micro_batch=1)
    if place_with_resources(stage, open_, cards).fits:
        return "leave out --shard, --tensor-parallel and --vllm-server, the estimate then chooses"
    more = next(
        (n for n in (2, 4, 8) if n > cards.count and place_with_resources(stage, open_, Cards(n, cards.gib)).fits), None
    )
    if more:
        return f"{more} such GPUs in one machine hold it, with the models in parts"
    if layout.ranks == 1 and not isinstance(stage, Calibrate | Distill | Sample | Evaluate):
        return "choose smaller models or a GPU with more memory: this kind of stage runs on one"
    return "shorten the completions, or choose smaller models or GPUs with more memory"
