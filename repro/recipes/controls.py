"""Controls for a misled student: Table 2's calibration with one thing changed at a time (docs/controls.md)."""

from collections.abc import Iterator

from repro.recipes.shared_stages import Pair, base_model
from repro.recipes.study import Row
from repro.recipes.table2 import kl_matched
from repro.stages import Calibrate


def rows(pair: Pair) -> Iterator[Row]:
    """Yield each variant's calibrated teachers and students, next to Table 2's rows (sharing stages)."""
    teachers = {
        ("Undistillable", "Misled"): pair.calibrate_undistillable(),
        ("Eta0-Teacher", "Eta0-Student"): pair.calibrate(0.0),
        **{(f"Undistillable ({name})", f"Misled ({name})"): variant for name, variant in variants(pair).items()},
        ("Distillable", "Improve"): pair.calibrate_distillable(),
        ("Distillable (teacher as target)", "Improve (teacher as target)"): strong_target(pair),
    }
    yield pair.row("Teacher", pair.evaluate(pair.teacher))
    for (method, _), teacher in teachers.items():
        yield pair.row(method, pair.evaluate(teacher))
    yield pair.row("Student", pair.evaluate(pair.student))
    yield pair.row("SFT", pair.evaluate(pair.sft(pair.teacher)))
    yield pair.row("No-reasoning", pair.evaluate(pair.no_reasoning(pair.teacher)))
    for (_, method), teacher in teachers.items():
        yield pair.row(method, pair.evaluate(pair.gkd_rkl(teacher)))


def variants(pair: Pair) -> dict[str, Calibrate]:
    """Return name -> the undistillable teacher with one thing changed; no other target if the family names none.

    per token: r_cal divided by lengths. batch: advantages renormalised over the batch. other target: a calibration
    target of another family. blind target: one with untrained weights. The others replace r_cal by a reward that knows
    no target; the KL-matched one, a fixed random taste, moves its teacher as far as r_cal did.
    """
    paper = pair.calibrate_undistillable()

    def changed(**update: object) -> Calibrate:
        return paper.model_copy(update={"config": paper.config.model_copy(update=update)})

    teachers = {
        "per token": changed(length_normalised=True),
        "batch": changed(advantages="batch"),
        "KL-matched": kl_matched(paper),
        "null reward": changed(reward="null"),
        "style reward": changed(reward="style"),
        "length reward": changed(reward="length"),
        "blind target": changed(reward="blind"),
    }
    if pair.models.other_target:
        teachers["other target"] = paper.model_copy(update={"target": base_model(pair.models.other_target)})
    return teachers


def strong_target(pair: Pair) -> Calibrate:
    """Return the distillable teacher whose target is the teacher itself: r_cal can only hold it where it is."""
    return pair.calibrate_distillable().model_copy(update={"target": pair.teacher})
