"""The knob's complete curve: the paper's measurements at two values of eta, repeated at many."""

from collections.abc import Iterator

from repro.recipes.labels import at_eta
from repro.recipes.shared_stages import Pair
from repro.recipes.study import Row
from repro.stages import Diagnose, Evaluate

TEACHER, RKL, SFT, TRAPS = "Teacher", "GKD-RKL", "SFT", "Traps"
"""Names of the four curves: the teacher, its two students, and the untouched student under the teacher."""


def rows(pair: Pair) -> Iterator[Row]:
    """Yield per eta the teacher, its on-policy and its SFT student, and the traps between it and the untouched student."""
    teachers = {eta: pair.calibrate(eta) for eta in sorted(set(pair.settings.etas))}

    def at(name: str, eta: float, stage: Evaluate | Diagnose) -> Row:
        return pair.row(at_eta(name, eta), stage, eta=eta)

    yield pair.row("Teacher", pair.evaluate(pair.teacher))
    for eta, teacher in teachers.items():
        yield at(TEACHER, eta, pair.evaluate(teacher))
    yield pair.row("Student", pair.evaluate(pair.student))
    for eta, teacher in teachers.items():
        yield at(RKL, eta, pair.evaluate(pair.gkd_rkl(teacher)))
    for eta, teacher in teachers.items():
        yield at(SFT, eta, pair.evaluate(pair.sft(teacher)))
    for eta, teacher in teachers.items():
        yield at(TRAPS, eta, pair.diagnose(teacher, off_policy=False))
