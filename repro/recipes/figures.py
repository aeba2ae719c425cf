"""Figures 1a, 3 and 4, and the failure modes (section 6.5): further measurements on Table 2's models."""

from collections.abc import Iterator

from repro.recipes import table2
from repro.recipes.judges import judge_of
from repro.recipes.labels import student_of
from repro.recipes.shared_stages import Pair, base_model
from repro.recipes.study import Row
from repro.recipes.table1_and_4 import PRINTED_NAMES
from repro.stages import Classify, Continue, Evaluate, ModelInput

BEFORE_AND_AFTER = ("Teacher", "Undistillable", "Student", "GKD-RKL", "Misled", "Eta0-Teacher", "Eta0-Student")
"""Rows of Table 2 that Figure 3 compares, and their controls."""
STUDENTS = ("SFT", "GKD-FKL", "GKD-RKL", "Improve", "Misled", "Eta0-Student", "No-reasoning")
"""Rows of Table 2 with failures to compare with the untouched student's."""


def before_and_after_rows(pair: Pair) -> Iterator[Row]:
    """Yield Figure 3, teachers keep and students fall: rows of Table 2."""
    return (row for row in table2.rows(pair) if row.method in BEFORE_AND_AFTER)


def gain_rows(pair: Pair) -> Iterator[Row]:
    """Yield Figure 1a: every available teacher of the student's tokenizer, and the student that GKD-RKL makes of it."""
    yield pair.row("Student", pair.evaluate(pair.student))
    names = (pair.models.target, pair.models.teacher, *pair.models.larger_teachers)
    teachers: dict[str, ModelInput] = {PRINTED_NAMES.get(name, name): base_model(name) for name in names}
    teachers["Distillable"] = pair.calibrate_distillable()
    teachers["Undistillable"] = pair.calibrate_undistillable()
    if pair.settings.controls:
        teachers["Eta0"] = pair.calibrate(0.0)
    for name, teacher in teachers.items():
        yield pair.row(name, pair.evaluate(teacher))
        yield pair.row(student_of(name), pair.evaluate(pair.gkd_rkl(teacher)), of=name)


def prefix_rows(pair: Pair) -> Iterator[Row]:
    """Yield Figure 4: teachers, and the misled student itself, continue the misled student's prefixes."""
    evaluations = _evaluations(pair)
    models = {method: evaluations[method].model for method in ("Teacher", "Undistillable", "Misled")}
    if pair.settings.controls:
        models["Eta0"] = pair.calibrate(0.0)
    for method, model in models.items():
        stage = Continue(
            teacher=model,
            before=evaluations["Student"],
            after=evaluations["Misled"],
            prefixes=pair.settings.prefixes,
            seed=pair.seed,
        )
        yield pair.row(method, stage)


def failure_rows(pair: Pair) -> Iterator[Row]:
    """Yield how every student of Table 2 fails on prompts it solved before, and the teachers for comparison."""
    evaluations, judge = _evaluations(pair), judge_of(pair.settings)
    for method in ("Teacher", "Undistillable"):
        yield pair.row(method, evaluations[method])
    for method in STUDENTS:
        if method in evaluations:
            stage = Classify(
                before=evaluations["Student"],
                after=evaluations[method],
                judge=judge,
                engine=pair.settings.evaluation.engine,
                seed=pair.seed,
            )
            yield pair.row(method, stage)


def _evaluations(pair: Pair) -> dict[str, Evaluate]:
    return {row.method: row.stage for row in table2.rows(pair) if row.stage.kind == "evaluate"}
