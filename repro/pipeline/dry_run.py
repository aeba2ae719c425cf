"""What a run would do: stages, cache hits, expected hours. Touches nothing."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from repro.pipeline.display import stage_seed
from repro.pipeline.run import hits
from repro.recipes.cost import expected_hours
from repro.recipes.hub_lock import unpinned
from repro.recipes.scales import NEEDS
from repro.recipes.study import Study


def print_plan(study: Study, out: Path, console: Console) -> None:
    """One line per stage, inputs first."""
    stages = study.stages()
    unit = "minutes on one core" if study.scale == "toy" else "GPU-hours (H100)"
    table = Table(title=f"{study.name} at scale {study.scale}: {len(stages)} stages", title_justify="left")
    for column in ("stage", "seed", "items", "cached", unit):
        table.add_column(column, overflow="fold")
    total = 0.0
    for stage, cached in zip(stages, hits(stages, out)):
        hours = 0.0 if cached else expected_hours(stage, study.scale)
        total += hours
        counts = {str(one.n or "all") for one in getattr(stage, "data", ())}
        items = " or ".join(sorted(counts)) + f" x {len(study.tasks)} tasks"
        amount = hours * 60 if study.scale == "toy" else hours
        table.add_row(stage.label, str(stage_seed(stage)), items, "yes" if cached else "no", f"{amount:.1f}")
    console.print(table)
    console.print(f"tasks: {', '.join(study.tasks)}; families: {', '.join(study.families)}", highlight=False)
    amount = total * 60 if study.scale == "toy" else total
    console.print(f"to run: {amount:.1f} {unit}; needs {NEEDS[study.scale].words}", highlight=False)
    if study.scale != "toy":
        console.print(
            "GPU-hours are DERIVED from Table 5 in proportion to tokens and model size, over ASSUMED counts: an order of"
            " magnitude.",
            highlight=False,
        )
    loose = unpinned(stages)
    if loose:
        console.print(f"unpinned hub revisions: {', '.join(loose)} (`repro pin` pins them)", highlight=False)
    console.print("Nothing was run.")
