"""Table 6 (appendix F): further pairs, each teacher calibrated and each student distilled on the data set of its column.

One calibration and one student per task: unlike for Table 2, the paper says so here ("on same dataset").
"""

from collections.abc import Iterator

from repro.recipes.shared_stages import Pair
from repro.recipes.study import Row


def rows(pair: Pair) -> Iterator[Row]:
    """Yield the untouched models on all tasks, and each task's own teachers and students."""
    etas = {("Undistillable", "Misled"): pair.settings.eta_undistillable}
    if pair.settings.controls:
        etas["Eta0-Teacher", "Eta0-Student"] = 0.0
    calibrated = [
        (methods, (task,), pair.calibrate(eta, (task,)))
        for methods, eta in etas.items()
        for task in pair.settings.tasks
    ]
    yield pair.row("Teacher", pair.evaluate(pair.teacher))
    for (method, _), task, teacher in calibrated:
        yield pair.row(method, pair.evaluate(teacher, task))
    yield pair.row("Student", pair.evaluate(pair.student))
    for (_, method), task, teacher in calibrated:
        yield pair.row(method, pair.evaluate(pair.gkd_rkl(teacher, task), task))
