"""Cells over selected prompts: those a student lost, or those a teacher solves."""

from collections.abc import Sequence

from repro.evaluation.lost_prompts import LostPrompts
from repro.tables.measured_table import ByItem, MeasuredTable

FEWEST_PROMPTS = 5
"""Minimum number of selected prompts for a cell: with fewer, its interval would be uninformative."""


def add_over_chosen(
    table: MeasuredTable, row: str, task: str, metric: str, items: Sequence[str], by_seed: Sequence[ByItem]
) -> None:
    """Add a mean over the items for which a seed has a value, if every seed has enough of them."""
    chosen = [{item: seed[item] for item in items if item in seed} for seed in by_seed]
    if all(len(seed) >= FEWEST_PROMPTS for seed in chosen):
        values = [{item: seed.get(item, 0.0) for item in items} for seed in chosen]
        weights = [{item: float(item in seed) for item in items} for seed in chosen]
        table.add_by_item(row, task, metric, values, weights)


def add_lost(table: MeasuredTable, row: str, task: str, items: Sequence[str], by_seed: Sequence[LostPrompts]) -> None:
    """Add the share of its solved prompts that the student lost and, once, the share it had solved at all."""
    if not table.has("Student", task, "solved"):
        solved = [{item: float((task, item) in prompts.solved) for item in items} for prompts in by_seed]
        table.add_by_item("Student", task, "solved", solved)
    lost = [
        {item: float((task, item) in prompts.lost) for item in items if (task, item) in prompts.solved}
        for prompts in by_seed
    ]
    add_over_chosen(table, row, task, "lost", items, lost)
