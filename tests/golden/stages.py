"""Every stage of every study at every scale with two seeds (matrices: one), one line each: the golden files of this folder.

`python tests/golden/stages.py` rewrites the files. A changed line of identities.txt means that results made before can
no longer be loaded: change it together with the version of the kind of stage, and say why in docs/log.md.
"""

import dataclasses
import functools
from pathlib import Path

from repro.planner.cards import CPU_CORE, H100
from repro.planner.disk import disk_space
from repro.planner.host_memory import host_memory
from repro.planner.placement import Cards, place
from repro.planner.roofline import stage_seconds
from repro.planner.tokens import planned_tokens
from repro.recipes.catalog import STUDIES, plan
from repro.recipes.study import SCALES, Scale
from repro.stages import Stage

IDENTITIES = Path(__file__).with_name("identities.txt")
PLANNED = Path(__file__).with_name("planned.txt")
MATRICES = ("guards", "leak")
"""Studies of hundreds of stages a family: only the default families, under one seed."""
CARDS = Cards(count=8, gib=78.0)


@functools.cache
def stages_of(scale: Scale) -> dict[str, tuple[Stage, list[str]]]:
    """Every stage of the scale by its folder's name, with the studies that have it."""
    stages: dict[str, tuple[Stage, list[str]]] = {}
    for name in STUDIES:
        families, seeds = ((), 1) if name in MATRICES else (("all",), 2)
        for stage in plan(name, scale=scale, families=families, seeds=seeds).stages():
            stages.setdefault(stage.folder_name, (stage, []))[1].append(name)
    return stages


def identities() -> list[str]:
    """Scale, folder name (kind and fingerprint), label, and studies of each stage."""
    return [
        f"{scale} {folder} {stage.label} | {' '.join(studies)}"
        for scale in SCALES
        for folder, (stage, studies) in sorted(stages_of(scale).items())
    ]


def planned() -> list[str]:
    """Scale, folder name, and the planner's numbers of each stage: hours without measured factors, tokens, memory (GiB), layout on `CARDS`."""
    lines = []
    for scale in SCALES:
        for folder, (stage, _) in sorted(stages_of(scale).items()):
            placement, disk = place(stage, CARDS), disk_space(stage)
            numbers = {
                "hours": stage_seconds(stage, CPU_CORE if scale == "toy" else H100) / 3600,
                "tokens": planned_tokens(stage),
                "gpu": placement.memory,
                "host": host_memory(stage, placement.layout).total,
                "disk": disk.artifact,
                "scratch": disk.scratch,
            }
            values = " ".join(f"{key} {value:.6g}" for key, value in numbers.items())
            layout = ",".join(str(value) for value in dataclasses.astuple(placement.layout))
            lines.append(f"{scale} {folder} {values} layout {layout} {'fits' if placement.fits else 'too large'}")
    return lines


if __name__ == "__main__":
    IDENTITIES.write_text("\n".join(identities()) + "\n")
    PLANNED.write_text("\n".join(planned()) + "\n")
