"""Which loss closes which trap (docs/losses.md): a study of our own. GKD-RKL with only the loss changed."""

from collections.abc import Iterator

from repro.distillation.loss import LOSSES, Loss
from repro.recipes.labels import traps_of, with_loss
from repro.recipes.shared_stages import Pair
from repro.recipes.study import Row


def rows(pair: Pair) -> Iterator[Row]:
    """Yield a student per loss under the original and the undistillable teacher, and the traps that each is left with.

    Traps are measured between a student and the original teacher: of the untouched student (before), and of the students of
    the original teacher by every loss (after). Students of reverse KL are those of Table 2 where settings are the same.
    """
    undistillable = pair.calibrate_undistillable()
    yield pair.row("Teacher", pair.evaluate(pair.teacher))
    yield pair.row("Undistillable", pair.evaluate(undistillable))
    yield pair.row("Student", pair.evaluate(pair.student))
    yield pair.row(traps_of("Student"), pair.diagnose(pair.teacher, off_policy=False))
    losses: tuple[Loss | None, ...] = (None, *map(LOSSES.parse, pair.settings.losses))
    for loss in losses:
        student = pair.gkd_rkl(pair.teacher, loss=loss)
        label = with_loss("GKD-RKL", loss.label if loss else None)
        yield pair.row(label, pair.evaluate(student))
        yield pair.row(traps_of(label), pair.diagnose(pair.teacher, off_policy=False, student=student))
    for loss in losses:
        yield pair.row(
            with_loss("Misled", loss.label if loss else None), pair.evaluate(pair.gkd_rkl(undistillable, loss=loss))
        )
