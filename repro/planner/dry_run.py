"""What a run would do: stages, cache hits, models, items, tokens, hours, memory, disk. Touches nothing."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from repro.errors import InputError
from repro.planner.fit import placements, unplaceable
from repro.planner.footprint import disk_gib, download_gib, footprint
from repro.planner.host_memory import host_memory
from repro.planner.hours import describe_derivation, expected_hours, planned_items, planned_tokens, table5_hours
from repro.planner.placement import describe_layout, uses_gpu
from repro.planner.resources import Resources
from repro.planner.roofline import CARDS, hours_on_card
from repro.planner.scales import REQUIREMENTS, check_fits
from repro.recipes.study import Study
from repro.stages import BaseModelRef, Stage, TaskData
from repro.stages.artifact import which_cached
from repro.stages.pins import unpinned_inputs
from repro.system.hardware import hardware
from repro.tasks.row_counts import ROW_COUNTS, count_items


def print_plan(study: Study, out: Path, console: Console, resources: Resources, workers: int | None = None) -> None:
    """One line per stage, inputs first; then data, models and sums.

    Args:
        workers: stages side by side, at most; None for as many as there are GPUs for.
        resources: as the run would have them.
    """
    stages = study.stages()
    toy = study.scale == "toy"
    unit = "minutes on one core" if toy else "GPU-hours (H100)"
    table = Table(title=f"{study.name} at scale {study.scale}: {len(stages)} stages", title_justify="left")
    table.add_column("stage", overflow="fold", min_width=24)
    columns = ["seed", "items", "tokens", "cached", unit]
    for column in columns if toy else [*columns, "Table 5", "GPUs", "GiB on each", "host GiB", "disk GiB"]:
        table.add_column(column, justify="right")
    total = 0.0
    placed = placements(study, stages, resources)
    for number, (stage, cached) in enumerate(zip(stages, which_cached(stages, out))):
        hours = 0.0 if cached else expected_hours(stage, study.scale)
        total += hours
        cells = [
            stage.label,
            str(stage.seed),
            f"{planned_items(stage):,}",
            _short(planned_tokens(stage)),
            "yes" if cached else "no",
            f"{hours * 60 if toy else hours:,.1f}",
        ]
        if not toy:
            printed, own = table5_hours(stage), placed[number]
            size = footprint(stage, own.layout, planned_tokens(stage))
            memory = f"{size.memory:.1f}{'' if own.fits else ' (does not fit)'}"
            gpus = describe_layout(own.layout) if uses_gpu(stage) else "0"
            cells += ["-" if printed is None else f"{printed:g}", gpus, memory]
            cells += [f"{host_memory(stage, own.layout).total:.0f}", f"{size.disk:.2f}"]
        table.add_row(*cells)
    width = console.width
    if not console.is_terminal:  # a log has no width of its own: 80 columns would fold the labels
        console.width = max(width, 150)
    console.print(table)
    console.width = width
    console.print(
        f"tokens: at most so many, were every completion as long as its cap; to run: {total * 60 if toy else total:,.1f}"
        f" {unit}; needs {REQUIREMENTS[study.scale].words}",
        highlight=False,
    )
    if not toy:
        console.print(
            "GPU-hours are DERIVED from Table 5 in proportion to tokens and model size, over ASSUMED counts: an order of"
            " magnitude. Memory and disk are DERIVED from parameter counts; host: main memory of all the stage's processes,"
            " which stages side by side add up. Sharded: trained and frozen models in parts on"
            " the stage's GPUs.",
            highlight=False,
        )
    if study.name == "table5" and not toy:
        for line in describe_derivation(study):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    if study.scale == "small":
        nights = ", ".join(f"{hours_on_card(study, card):.1f} h on {name}" for name, card in CARDS.items())
        console.print(f"from the bottom up, at most: {nights} (DERIVED from data sheets)", highlight=False)
    tokens = {stage.fingerprint: planned_tokens(stage) for stage in stages}
    console.print(
        f"disk: {disk_gib(stages, tokens):,.1f} GiB at the end and while it runs, {download_gib(stages):,.1f} of them"
        " downloads",
        highlight=False,
    )
    _print_data(study, stages, console)
    _print_models(study, stages, console)
    for trouble in unplaceable(study, stages, resources, workers):
        console.print(f"does not fit: {trouble}", highlight=False, soft_wrap=True)
    try:
        check_fits(study.scale, hardware())
    except InputError as error:
        console.print(f"`repro run` refuses here: {error}", highlight=False, soft_wrap=True)
    console.print("Nothing was run.")


def describe_data(stages: list[Stage]) -> list[str]:
    """Each task and split once: what is asked for, and how much there is."""
    asked: dict[tuple[str, str], TaskData] = {}
    for stage in stages:
        for one in stage.data:
            asked.setdefault((one.task, one.split), one)
    lines = []
    for (task, split), one in asked.items():
        there_are = None if one.file else count_items(task, one.split)
        wish = "all" if one.n is None else f"{one.n:,}"
        if there_are is None:
            words = f"{wish} asked; how many there are is known when the rows are read"
        else:
            used = there_are if one.n is None else min(one.n, there_are)
            published = ROW_COUNTS.get(task)
            about = "about " if published and (published.divided or not published.counted) else ""
            fewer = "" if one.n is None or one.n <= there_are else ": fewer than asked, all are taken"
            words = f"{wish} asked, {about}{there_are:,} there, {used:,} used{fewer}"
        lines.append(f"{task} {split}: {words}")
    return lines


def _print_data(study: Study, stages: list[Stage], console: Console) -> None:
    console.print(f"families: {', '.join(study.families)}; items:", highlight=False)
    for line in describe_data(stages):
        console.print(f"  {line}", highlight=False)
    trained = {one.task for stage in stages for one in stage.data if one.split == "train"}
    untrained = [task for task in study.tasks if trained and task not in trained]
    if untrained:
        console.print(f"  for evaluation only, never trained on: {', '.join(untrained)}", highlight=False)


def _print_models(study: Study, stages: list[Stage], console: Console) -> None:
    console.print("models:", highlight=False)
    models: dict[str, BaseModelRef] = {m.name: m for stage in stages for m in stage.base_models()}
    for model in models.values():
        console.print(f"  {model.name} at {model.revision[:19]}", highlight=False)
    for name, url in sorted({(m.name, m.url) for stage in stages for m in stage.served_models()}):
        console.print(f"  {name} served at {url}, unpinned: no revision is known", highlight=False, soft_wrap=True)
    loose = unpinned_inputs(stages)
    if loose:
        console.print(f"unpinned hub revisions: {', '.join(loose)} (`repro pin` pins them)", highlight=False)


def _short(tokens: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.1f}{letter}"
    return f"{tokens:.0f}"
