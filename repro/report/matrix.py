"""The cells of a matrix of guards and attacks, from its measured table."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.recipes.labels import teacher_under, under
from repro.report.merge import Part
from repro.report.result import Matrix
from repro.tables.guard_metrics import BASELINE, GAIN, has_idle_gain
from repro.tables.measured_table import MeasuredTable
from repro.tables.statistics.decision import interval
from repro.tables.statistics.resampling import Estimate, Resamples


@dataclass(frozen=True)
class GainCell:
    """A student's mean gain over the one without a teacher, with its 95 % interval. idle: no gain is reported."""

    guard: str
    attack: str
    value: float | None
    low: float = 0.0
    high: float = 0.0
    idle: bool = False

    @property
    def is_leak(self) -> bool:
        """True if the interval is above zero: the attack breaks the guard."""
        return self.value is not None and self.low > 0


def matrix_of(part: Part) -> Matrix | None:
    """Return the sides of a part's matrix, with the speeds from all sources; None for other studies."""
    extras = [source.content.get("extras", {}) for source in part.sources]
    sides = [extra["matrix"] for extra in extras if "matrix" in extra]
    if not sides:
        return None
    speed = {family: by_guard for side in reversed(sides) for family, by_guard in side.get("speed", {}).items()}
    return {"guards": sides[0]["guards"], "attacks": sides[0]["attacks"], "speed": speed}


def gain_cells(table: MeasuredTable, matrix: Matrix) -> dict[tuple[str, str], GainCell]:
    """Return the cells by guard and attack, without those that the guard's interface rules out."""
    labels = {
        (guard["label"], attack["label"]): under(attack["label"], guard["label"])
        for guard in matrix["guards"]
        for attack in matrix["attacks"]
    }
    estimates = _estimates(table, list(labels.values()), GAIN)
    cells = {}
    for (guard, attack), label in labels.items():
        if label in estimates and label not in table.idle:
            low, high = interval(estimates[label], 0.05)
            cells[guard, attack] = GainCell(guard, attack, estimates[label].value, low, high)
        elif label in table.rows and (label in table.idle or has_idle_gain(table, label)):
            cells[guard, attack] = GainCell(guard, attack, None, idle=True)
    return cells


def worst_of(guard: str, cells: dict[tuple[str, str], GainCell]) -> GainCell | None:
    """Return a guard's row score: its cell with the largest gain, or None if no cell has one."""
    row = [cell for (name, _), cell in cells.items() if name == guard and cell.value is not None]
    return max(row, key=lambda cell: cell.value or 0.0, default=None)


def broken_by(attack: str, cells: dict[tuple[str, str], GainCell]) -> int:
    """Return an attack's column score: the number of guards it breaks, excluding the open teacher."""
    return sum(cell.is_leak for (guard, name), cell in cells.items() if name == attack and guard != BASELINE)


def tried_by(attack: str, cells: dict[tuple[str, str], GainCell]) -> int:
    """Return the number of guards, excluding the open teacher, under which an attack has a gain: those it could break."""
    return sum(cell.value is not None for (guard, name), cell in cells.items() if name == attack and guard != BASELINE)


def teacher_losses(table: MeasuredTable, guards: Sequence[str]) -> dict[str, Estimate]:
    """Return each guarded teacher's score minus the open teacher's, averaged over tasks and paired by item."""
    open_teacher = teacher_under(BASELINE)
    losses = {}
    for guard in guards:
        shared = table.shared_metrics([teacher_under(guard), open_teacher], ("acc", "reward"))
        if shared and guard != BASELINE:
            keys = {(teacher_under(guard), *key): 1.0 / len(shared) for key in shared}
            keys |= {(open_teacher, *key): -1.0 / len(shared) for key in shared}
            losses[guard] = Resamples(table, keys, 2_000).estimate(keys)
    return losses


def _estimates(table: MeasuredTable, labels: Sequence[str], metric: str) -> dict[str, Estimate]:
    """Return the mean over tasks of a metric, by row, where the row has it."""
    keys = {
        label: [(label, task, metric) for task in table.tasks if table.has(label, task, metric)] for label in labels
    }
    draws = Resamples(table, [key for of_row in keys.values() for key in of_row], 2_000)
    return {
        label: draws.estimate({key: 1.0 / len(of_row) for key in of_row}) for label, of_row in keys.items() if of_row
    }
