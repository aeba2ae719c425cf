"""The rungs of the study `leak`, from its measured table: gains and gains per thousand queries, by guard."""

from dataclasses import dataclass

from repro.attacks.base import shows_rung
from repro.recipes.labels import under
from repro.report.matrix import GainCell, gain_cells
from repro.report.merge import Part
from repro.report.result import Leak, Matrix
from repro.tables.guard_metrics import BASELINE, GAIN, GAIN_PER_1000
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Resamples

Ends = tuple[float, float, float]
"""A value, and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Step:
    """One attack on its rung under one guard.

    Attributes:
        gain: over the student without a teacher; None if there is none to show.
        per_1000: gain per thousand queries; None where there is no gain.
        taken: gain less that of the same attack on the open teacher; None for the open teacher, and where either has none.
        queries: to the teacher; None if they were not counted.
        is_open: the guard shows the rung; then a gain that is None was not measured.
    """

    rung: str
    attack: str
    gain: GainCell | None
    per_1000: Ends | None
    taken: Ends | None
    queries: int | None
    is_open: bool


def leak_of(part: Part) -> Leak | None:
    """Return the rungs, and the queries of all sources; None for another study."""
    extras = [source.content.get("extras", {}) for source in part.sources]
    facts = [extra["leak"] for extra in extras if "leak" in extra]
    if not facts:
        return None
    return {"rungs": facts[0]["rungs"], "queries": {f: q for fact in facts for f, q in fact["queries"].items()}}


def steps_of(table: MeasuredTable, sides: Matrix, leak: Leak) -> dict[str, list[Step]]:
    """Return the steps of each guard, from the lowest rung to the highest."""
    cells = gain_cells(table, sides)
    queries = leak["queries"].get(table.family, {})
    shown = {side["label"]: side["shows_or_needs"] for side in sides["guards"]}
    labels = [under(rung["attack"], guard) for guard in dict.fromkeys((BASELINE, *shown)) for rung in leak["rungs"]]
    draws = Resamples(
        table, [key for label in labels for m in (GAIN, GAIN_PER_1000) for key in _keys(table, label, m)], 2_000
    )

    def step(guard: str, rung: str, attack: str) -> Step:
        label, baseline = under(attack, guard), under(attack, BASELINE)
        return Step(
            rung,
            attack,
            cells.get((guard, attack)),
            _mean_of(table, draws, {label: 1.0}, GAIN_PER_1000),
            None if guard == BASELINE else _mean_of(table, draws, {label: 1.0, baseline: -1.0}, GAIN),
            queries.get(label),
            shows_rung(shown[guard], rung),
        )

    return {guard: [step(guard, rung["rung"], rung["attack"]) for rung in leak["rungs"]] for guard in shown}


def _mean_of(table: MeasuredTable, draws: Resamples, weights: dict[str, float], metric: str) -> Ends | None:
    """Return a weighted sum of rows, mean over the tasks that all have; None if there are none."""
    tasks = [task for task in table.tasks if all((row, task, metric) in _keys(table, row, metric) for row in weights)]
    if not tasks:
        return None
    contrast = {(row, task, metric): weight / len(tasks) for row, weight in weights.items() for task in tasks}
    estimate = draws.estimate(contrast)
    return (estimate.value, *interval(estimate, 0.05))


def _keys(table: MeasuredTable, row: str, metric: str) -> list[CellKey]:
    """Return the cells of a row's metric; none of a row that rests on an idle teacher."""
    return [] if row in table.idle else [(row, task, metric) for task in table.tasks if table.has(row, task, metric)]
