"""A panel as grids of the page: on the student's completions, on the teacher's."""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.report.blocks import Cell, Grid
from repro.tables.metric_names import describe_measure

_UNITLESS = frozenset({"mean_weight", "pareto_k"})
_POLICIES = {"student": "student's completions (on-policy)", "teacher": "teacher's completions (off-policy)"}


def panel_grids(panel: Sequence[Mapping[str, Any]], of: str = "") -> list[Grid]:
    """Lay out a panel: a grid per policy, a row per measure with id and unit below it, a column per task.

    Args:
        of: what it is of, for the captions.
    """
    tasks = list(dict.fromkeys(cell["task"] for cell in panel))
    grids = []
    for policy in dict.fromkeys(cell["policy"] for cell in panel):
        rows: dict[str, dict[str, Cell]] = {}
        for cell in (cell for cell in panel if cell["policy"] == policy):
            unit = "" if cell["measure"] in _UNITLESS or not cell["unit"] else f", {cell['unit']}"
            head = Cell(describe_measure(cell["measure"]), f"{cell['measure']}{unit}")
            row = rows.setdefault(cell["measure"], {"measure": head, **{task: Cell("") for task in tasks}})
            row[cell["task"]] = interval_cell(cell)
        grids.append(Grid(f"On the {_POLICIES[policy]}{f': {of}' if of else ''}", list(rows.values())))
    return grids


def interval_cell(cell: Mapping[str, Any], key: str = "value", bounds: str = "", note: str = "") -> Cell:
    """Return a cell with a number, and below it its interval and a note."""
    value, low, high = (cell[name] for name in (key, f"{bounds}low", f"{bounds}high"))
    number = None if isinstance(value, str) else float(value)
    return Cell(_short(value), f"{_short(low)} to {_short(high)}{note}", value=number)


def _short(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.3g}"
