"""Dry run: what a run would do (stages, cache hits, models, items, tokens, hours, memory, disk). Touches nothing."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from repro.errors import InputError
from repro.planner.cards import CARDS
from repro.planner.corrections import Corrections, corrections_from
from repro.planner.disk import disk_gib, disk_space, download_gib
from repro.planner.fit import placements, unplaceable
from repro.planner.forecast import Forecast, forecast
from repro.planner.host_memory import host_memory
from repro.planner.hours import hours_on_card, table5_hours
from repro.planner.placement import Cards, Placement, describe_layout
from repro.planner.resources import Resources
from repro.planner.scales import REQUIREMENTS, check_fits, planned_gpu
from repro.planner.tokens import planned_items, planned_tokens
from repro.planner.words import describe_duration, describe_gib, describe_gpu_hours, describe_seconds
from repro.recipes.studies import STUDIES, resolve
from repro.recipes.study import Study
from repro.stages import BaseModelRef, Stage, TaskData
from repro.stages.artifact import which_cached
from repro.stages.pins import unpinned_inputs
from repro.system.hardware import hardware
from repro.system.hub_lock import UNPINNED
from repro.tasks.row_counts import count_items, count_rows


def print_plan(
    study: Study,
    out: Path,
    console: Console,
    resources: Resources,
    workers: int | None = None,
    *,
    is_here: bool = True,
    cards: Cards | None = None,
) -> None:
    """Print one line per stage, inputs first; then data, models and totals.

    Args:
        workers: maximum number of concurrent stages; None for as many as there are GPUs for.
        resources: those of the run.
        is_here: the stages would run on this machine, not as Slurm jobs.
        cards: as in `placements`.
    """
    stages = study.stages()
    cached = which_cached(stages, out)
    corrections = corrections_from(out, planned_gpu(study.scale, is_here=is_here))
    planned = forecast(study, stages, cached, corrections, resources, workers)
    placed = dict(enumerate(placements(study, stages, resources, cards)))
    rows = [(stage, cached[n], planned.stages[n].seconds, placed.get(n)) for n, stage in enumerate(stages)]
    _print_stages(study, rows, corrections.gpu.name, console)
    _print_hours(study, planned, describe_source(study, stages, corrections), console)
    _print_sums(study, stages, console)
    _print_data(study, stages, console)
    _print_models(stages, console)
    if is_here:
        _print_what_does_not_fit(study, unplaceable(study, stages, resources, workers), console)
    console.print("Nothing was run.")


def _print_what_does_not_fit(study: Study, problems: Sequence[str], console: Console) -> None:
    for problem in problems:
        console.print(f"does not fit: {problem}", highlight=False, soft_wrap=True)
    try:
        check_fits(study.scale, hardware())
    except InputError as error:
        refusal = str(error).replace(", or `repro run --dry-run` to see the plan", "")
        console.print(f"`repro run` would refuse: {refusal}", highlight=False, soft_wrap=True)


def gpu_hours_to_run(study: Study, out: Path, resources: Resources, *, is_here: bool = True) -> tuple[float, str]:
    """Return the GPU-hours of the stages that are not cached, and the GPU.

    Args:
        is_here: as in `print_plan`.
    """
    stages, corrections = study.stages(), corrections_from(out, planned_gpu(study.scale, is_here=is_here))
    total = forecast(study, stages, which_cached(stages, out), corrections, resources).total
    return total.seconds / 3600, corrections.gpu.name


def describe_source(study: Study, stages: Sequence[Stage], corrections: Corrections) -> str:
    """Say what the hours are based on: records of this machine, or none."""
    on_gpu = study.scale != "toy"
    kinds = {stage.procedure: corrections.records.get((on_gpu, stage.procedure), 0) for stage in stages}
    records = sum(kinds.values())
    if not records:
        source = f"the data sheet of the {corrections.gpu.name}" if on_gpu else "runs on another machine"
        return f"DERIVED from {source}; no stage like these has run on this machine yet"
    without = [kind for kind, count in kinds.items() if not count and on_gpu in corrections.others]
    unmeasured = f"; no record yet of {', '.join(without)}" if without else ""
    return f"from {records} record{'s' if records > 1 else ''} of this machine{unmeasured}"


def _print_hours(study: Study, planned: Forecast, source: str, console: Console) -> None:
    """Print the total over all stages, when the last one ends, and the source of the figures."""
    needs = REQUIREMENTS[study.scale].description
    total = f"{describe_seconds(planned.total)} on one core"
    if study.scale != "toy":
        total = describe_gpu_hours(planned.total)
    console.print(
        f"to run: {total}; {describe_seconds(planned.wall)} with"
        f" {planned.workers} worker{'s' if planned.workers > 1 else ''}; needs {needs}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"hours: {source}; assuming that every completion reaches its token cap", highlight=False, soft_wrap=True
    )


def _print_stages(
    study: Study, rows: list[tuple[Stage, bool, float, Placement | None]], gpu: str, console: Console
) -> None:
    """Print the table of stages.

    Args:
        rows: (stage, whether it is cached, seconds to run, placement or None at toy scale).
        gpu: whose hours are printed above toy scale.
    """
    toy = study.scale == "toy"
    table = Table(title=f"{study.name} at scale {study.scale}: {len(rows)} stages", title_justify="left")
    table.add_column("stage", overflow="fold", min_width=24)
    columns = ["seed", "items", "tokens", "cached", "minutes on one core" if toy else f"GPU-hours ({gpu})"]
    for column in columns if toy else [*columns, "Table 5 (h)", "GPUs", "GiB on each", "host GiB", "disk GiB"]:
        table.add_column(column, justify="right")
    for stage, cached, seconds, placement in rows:
        cells = [
            stage.label,
            str(stage.seed),
            f"{planned_items(stage):,}",
            _short(planned_tokens(stage)),
            "yes" if cached else "no",
            f"{seconds / (60 if toy else 3600):,.1f}",
        ]
        table.add_row(*cells, *(_placement_cells(stage, placement) if placement else []))
    width = console.width
    if not console.is_terminal:  # a log has no width, and 80 columns would fold the labels
        console.width = max(width, 150)
    console.print(table)
    console.width = width


def _placement_cells(stage: Stage, placement: Placement) -> list[str]:
    printed = table5_hours(stage)
    return [
        "-" if printed is None else f"{printed:g}",
        describe_layout(placement.layout) if stage.workload.uses_gpu else "0",
        f"{placement.memory:.1f}{'' if placement.fits else ' (does not fit)'}",
        f"{host_memory(stage, placement.layout).total:.0f}",
        f"{disk_space(stage).artifact:.2f}",
    ]


def _print_sums(study: Study, stages: list[Stage], console: Console) -> None:
    toy = study.scale == "toy"
    if not toy:
        console.print(
            "Memory and disk are DERIVED from parameter counts. host GiB: main memory of all processes of a stage;"
            " it adds up over stages that run in parallel. sharded: trained and frozen models are split over"
            " the stage's GPUs. Table 5 (h): the H100 hours that the paper prints for such a stage of its Qwen pair.",
            highlight=False,
        )
    derivation = STUDIES[study.name].derivation
    if derivation and not toy:
        for line in resolve(derivation)(study):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    if study.scale == "small":
        nights = ", ".join(
            f"{describe_duration(3600 * hours_on_card(study, card))} on {name}" for name, card in CARDS.items()
        )
        console.print(f"on one card, DERIVED from data sheets: {nights}", highlight=False)
    downloads = download_gib(stages)
    console.print(
        f"disk: {describe_gib(disk_gib(stages))} during the run and at its end,"
        f" {f'{describe_gib(downloads)} of it' if downloads else 'no'} model downloads",
        highlight=False,
    )


def describe_data(stages: list[Stage]) -> list[str]:
    """Describe each task and split: items requested and available."""
    requested: dict[tuple[str, str], TaskData] = {}
    for stage in stages:
        for data in stage.data:
            requested.setdefault((data.task, data.split), data)
    return [f"{task} {split}: {_describe_count(data)}" for (task, split), data in requested.items()]


def _describe_count(data: TaskData) -> str:
    available = None if data.file else count_items(data.task, data.split, data.revision)
    requested = "all" if data.n is None else f"{data.n:,}"
    if available is None:
        return f"{requested} requested; how many are available is known once the rows are read"
    used = available if data.n is None else min(data.n, available)
    rows = count_rows(data.task, data.revision)
    about = "about " if rows and (rows.divided or not rows.counted) else ""
    fewer = "" if data.n is None or data.n <= available else ": fewer than requested, all are used"
    return f"{requested} requested, {about}{available:,} available, {used:,} used{fewer}"


def _print_data(study: Study, stages: list[Stage], console: Console) -> None:
    console.print(f"families: {', '.join(study.families)}; items:", highlight=False)
    for line in describe_data(stages):
        console.print(f"  {line}", highlight=False)
    trained = {data.task for stage in stages for data in stage.data if data.split == "train"}
    untrained = [task for task in study.tasks if trained and task not in trained]
    if untrained:
        console.print(f"  for evaluation only, never trained on: {', '.join(untrained)}", highlight=False)


def _print_models(stages: list[Stage], console: Console) -> None:
    console.print("models:", highlight=False)
    models: dict[str, BaseModelRef] = {m.name: m for stage in stages for m in stage.base_models()}
    for model in models.values():
        revision = "unpinned" if model.revision == UNPINNED else f"at {model.revision[:19]}"
        console.print(f"  {model.name} {revision}", highlight=False)
    for name, url in sorted({(m.name, m.url) for stage in stages for m in stage.served_models()}):
        console.print(f"  {name} served at {url}, unpinned: revision unknown", highlight=False, soft_wrap=True)
    unpinned = unpinned_inputs(stages)
    if unpinned:
        console.print(f"unpinned hub revisions: {', '.join(unpinned)} (`repro pin` pins them)", highlight=False)


def _short(tokens: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.1f}{letter}"
    return f"{tokens:.0f}"
