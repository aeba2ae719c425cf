"""Which stages fit which cards, by the planner's estimate.

python benchmarks/gpu_cards.py docs/gpu.md    writes the tables into that page, between its marks
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from repro.planner.gpu_memory import GpuMemory, gpu_memory
from repro.planner.placement import NODE, Cards, Placement, describe_layout, place
from repro.planner.resources import Layout
from repro.recipes.catalog import STUDIES, plan
from repro.recipes.study import Scale
from repro.stages import Guarded, Stage

GIB = {"L4, A10": 22.2, "RTX 3090, 4090": 23.6, "A100 40 GB": 39.4, "H100 80 GB": 79.2}
"""Memory that CUDA reports: a little less than a card's name says."""
MARKS = ("<!-- computed -->\n", "<!-- end -->\n")
PARTS = (
    "weights", "gradients", "optimizer", "frozen", "activations", "logits", "fragments", "asleep", "workspace", "sampling",
)  # fmt: skip


def largest_stages(scale: Scale) -> dict[tuple[str, str, str], Stage]:
    """Return one stage of each kind and models; of equal ones the first that a reward model scores, if any does."""
    stages: dict[tuple[str, str, str], Stage] = {}
    for name in STUDIES:
        for stage in plan(name, scale=scale, families=("all",), seeds=1).stages():
            work = stage.workload
            if work.main is None:
                continue
            frozen = work.frozen.base_model.name if work.frozen else ""
            key = (_kind(stage), work.main.base_model.name, frozen)
            if key not in stages or (work.reward_model and not stages[key].workload.reward_model):
                stages[key] = stage
    return dict(sorted(stages.items()))


def _kind(stage: Stage) -> str:
    """Return the procedure, and what else decides the memory: the guard, or the loss."""
    if isinstance(stage, Guarded):
        return f"guarded ({stage.guard.name})"
    if stage.workload.uses_loss_layer:
        return f"{stage.procedure} ({'loss with a reference' if stage.workload.kl_anchor else 'another loss'})"
    return stage.procedure


def card_tables() -> str:
    """Return the tables of docs/gpu.md."""
    small, paper = largest_stages("small"), largest_stages("paper")
    single = [(f"{name} ({gib:g})", Cards(1, gib)) for name, gib in GIB.items()]
    nodes = [
        ("1 x H100 80 GB", Cards(1, GIB["H100 80 GB"])),
        ("8 x H100 80 GB", Cards(NODE, GIB["H100 80 GB"])),
        ("8 x A100 40 GB", Cards(NODE, GIB["A100 40 GB"])),
        ("8 x RTX 3090", Cards(NODE, GIB["RTX 3090, 4090"])),
    ]
    return "\n\n".join(
        "\n".join(lines)
        for lines in (
            ["**Small scale on one card**", "", *_fits(small, single)],
            ["**What GKD-RKL of the small scale holds**, GiB by sequences at once", "", *_parts(small)],
            ["**Paper scale**", "", *_fits(paper, nodes)],
        )
    )


def _fits(stages: dict[tuple[str, str, str], Stage], columns: Sequence[tuple[str, Cards]]) -> list[str]:
    lines = ["| stage | models | " + " | ".join(name for name, _ in columns) + " |", "|---" * (2 + len(columns)) + "|"]
    rows: dict[tuple[str, str], list[str]] = {}
    for (procedure, main, frozen), stage in stages.items():
        models = " + ".join(model.split("/")[-1] for model in (main, frozen) if model)
        rows[procedure, models] = [_cell(stage, place(stage, cards)) for _, cards in columns]
    return lines + [f"| {kind} | {models} | {' | '.join(cells)} |" for (kind, models), cells in rows.items()]


def _cell(stage: Stage, placement: Placement) -> str:
    if not placement.fits:
        return f"no ({placement.memory:.0f})"
    layout = placement.layout
    batch = f", {layout.micro_batch} at once" if stage.workload.trains else ""
    gpus = "" if layout.gpus == 1 else f" on each of {describe_layout(layout)}"
    return f"{placement.memory:.1f}{gpus}{batch}"


def _parts(stages: dict[tuple[str, str, str], Stage]) -> list[str]:
    stage = max(
        (stage for (kind, *_), stage in stages.items() if kind == "gkd-rkl"), key=lambda stage: gpu_memory(stage).total
    )
    lines = ["| at once | " + " | ".join((*PARTS, "peak")) + " |", "|---" * (2 + len(PARTS)) + "|"]
    for count in (1, 2, 4):
        memory: GpuMemory = gpu_memory(stage, Layout(micro_batch=count))
        cells = " | ".join(f"{getattr(memory, part):.1f}" for part in PARTS)
        lines.append(f"| {count} | {cells} | {memory.total:.1f} |")
    return lines


def write(file: Path) -> None:
    """Put the tables between the marks of a page."""
    before, _, rest = file.read_text().partition(MARKS[0])
    file.write_text(before + MARKS[0] + card_tables() + "\n" + MARKS[1] + rest.partition(MARKS[1])[2])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
