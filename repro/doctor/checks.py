"""All checks of a study, cheapest first, except scores: these come last, since this process then holds GPU memory."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from repro.doctor.finding import Finding, fail, good, warn
from repro.doctor.hub_checks import check_access, offline
from repro.doctor.model_checks import check_lengths, check_models, check_pairs, check_servers, check_weights
from repro.doctor.repeatability import check_scores
from repro.doctor.trial import try_stages
from repro.errors import InputError
from repro.planner.corrections import corrections_from
from repro.planner.disk import disk_gib
from repro.planner.dry_run import describe_source
from repro.planner.fit import placements, unplaceable
from repro.planner.forecast import forecast
from repro.planner.gpu_memory import gpu_memory
from repro.planner.host_memory import host_memory
from repro.planner.placement import describe_layout
from repro.planner.resources import Resources, resources_for
from repro.planner.scales import REQUIREMENTS, check_fits, describe_gpus, planned_gpu
from repro.planner.words import describe_gib, describe_seconds
from repro.recipes.study import Study
from repro.stages import Stage
from repro.system.gpu_checks import gpu_problems
from repro.system.hardware import hardware
from repro.tasks.row_counts import count_items
from repro.workflow.contamination import check_contamination


def run_checks(study: Study, out: Path, workers: int) -> Iterator[Finding]:
    """Yield findings as they are made. Models are loaded and stages run only if the machine is capable."""
    stages = study.stages()
    machine = list(_machine(study))
    yield from machine
    yield from _memory(study, stages, workers)
    yield _disk(stages, out)
    yield _hours(study, stages, out, workers)
    access = list(check_access(stages))
    yield from access
    with contextlib.nullcontext() if _is_reachable(access) else offline():
        yield from _contents(study, stages, [*machine, *access], out, workers)


def _is_reachable(access: list[Finding]) -> bool:
    """Return False if the hub gave no answer."""
    return all(finding.subject != "hub" for finding in access)


def _contents(study: Study, stages: list[Stage], earlier: list[Finding], out: Path, workers: int) -> Iterator[Finding]:
    """Check the contents of models and data; nothing runs if the machine, access or weights checks failed."""
    yield from _data(stages)
    weights = [*check_weights(stages), *check_servers(stages)]
    yield from weights
    models = list(check_models(stages))
    yield from models
    yield from check_pairs(stages)
    if any(finding.status == "fail" for finding in (*earlier, *weights, *models)):
        yield warn("scores and steps", "not tried: fix the failures above first")
        return
    yield check_lengths(stages)
    yield from try_stages(study, out, workers)
    yield from check_scores(stages)  # last: CUDA keeps about a GiB until this process ends, and stages plan with all


def _machine(study: Study) -> Iterator[Finding]:
    machine = hardware()
    try:
        check_fits(study.scale, machine)
    except InputError as error:
        yield fail("machine", str(error))
    else:
        yield good("machine", f"{machine['cpus']} cores, {machine['memory_gib']} GiB, {describe_gpus(machine)}")
        for line in gpu_problems(machine) if REQUIREMENTS[study.scale].gpus else []:
            yield warn("machine", line)


def _memory(study: Study, stages: list[Stage], workers: int) -> Iterator[Finding]:
    """Check memory: stages that do not fit, GPUs of sharded stages, and the largest stage.

    The largest stage is compared with one GPU or, at toy scale, with this machine.
    """
    resources = resources_for(study.scale)
    problems = unplaceable(study, stages, resources, workers)
    for line in problems:
        yield fail("memory", line)
    yield from _gpus(study, stages, resources)
    if problems:
        return
    placed = placements(study, stages, resources)
    if placed:
        peak, label = max((host_memory(stage, p.layout).total, stage.label) for stage, p in zip(stages, placed))
        yield good("host memory", f"{label} needs the most: about {peak:.0f} GiB over all its processes")
    sizes = [placement.memory for placement in placed] or [gpu_memory(stage).total for stage in stages]
    need, stage = max((size, stage.label) for size, stage in zip(sizes, stages))
    machine = hardware()
    gpus = [gpu["memory_gib"] for gpu in machine["gpus"]]
    available, owner = (max(gpus), "the largest GPU") if gpus else (machine["memory_gib"], "this machine")
    if REQUIREMENTS[study.scale].gpus and not gpus:
        yield warn("memory", f"{stage} needs about {need:.1f} GiB of GPU memory; this machine has no GPU")
    elif need > available:
        yield fail(
            "memory",
            f"{stage} needs about {need:.1f} GiB, but {owner} has {available:.1f} GiB: try --micro-batch 1 or smaller models",
        )
    else:
        yield good("memory", f"{stage} needs the most: about {need:.1f} GiB; {owner} has {available:.1f} GiB")


def _hours(study: Study, stages: list[Stage], out: Path, workers: int) -> Finding:
    """Report how long the complete study takes, including cached stages."""
    corrections = corrections_from(out, planned_gpu(study.scale))
    planned = forecast(study, stages, [False] * len(stages), corrections, resources_for(study.scale), workers)
    source = describe_source(study, stages, corrections)
    return good(
        "expected time",
        f"{describe_seconds(planned.wall)} with {workers} worker{'s' if workers > 1 else ''} ({source})",
    )


def _gpus(study: Study, stages: list[Stage], resources: Resources) -> Iterator[Finding]:
    """List stages that get more than one GPU; equal ones share a line."""
    alike: dict[tuple[str, str], list[float]] = {}
    for stage, placed in zip(stages, placements(study, stages, resources)):
        if placed.layout.ranks > 1:
            alike.setdefault((stage.label, describe_layout(placed.layout)), []).append(placed.memory)
    for (label, layout), sizes in alike.items():
        yield good("GPUs", f"{label}: {layout}, about {max(sizes):.0f} GiB on each")


def _disk(stages: list[Stage], out: Path) -> Finding:
    need = disk_gib(stages)
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    message = f"about {describe_gib(need)} needed, {describe_gib(free)} free at {existing}"
    return good("disk", message) if free > need else fail("disk", f"{message}: free some space, or use --out FOLDER")


def _data(stages: list[Stage]) -> Iterator[Finding]:
    parts = {(data.task, data.split): data for stage in stages for data in stage.data}
    for (task, split), data in parts.items():
        available = None if data.file else count_items(task, data.split, data.revision)
        if data.n is not None and available is not None and available < data.n:
            yield warn(
                f"items of {task} {split}", f"{data.n:,} requested, {available:,} available: all of them are used"
            )
    try:
        counts = check_contamination(stages)
    except InputError as error:
        yield fail("data", str(error))
    else:
        message = "no evaluation item among {training_items:,} training items ({evaluation_items:,} compared)"
        yield good("data", message.format(**counts))
