"""Studies that read the stages of Table 2 further: Table 5, Figures 1a, 3 and 4, and the failure modes (section 6.5)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import base_model, calibrated, evaluated, judge_of, on_policy
from repro.recipes.study import Measures, Row, Scale, Study
from repro.recipes.table2 import table2
from repro.recipes.traps import PRINTED
from repro.stages import Classify, Continue, Evaluate, ModelInput

KEPT = ("Teacher", "Undistillable", "Student", "GKD-RKL", "Misled", "Eta0-Teacher", "Eta0-Student")
"""Rows of Table 2 that Figure 3 compares, and their controls."""
STUDENTS = ("SFT", "GKD-FKL", "GKD-RKL", "Improve", "Misled", "Eta0-Student", "No-reasoning")
"""Rows of Table 2 whose failures are looked at, against those of the untouched student."""


def table5(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """What each stage of Table 2 costs, from the records of these very stages."""
    return replace(table2(scale, settings, seeds, assignments), name="table5", measures="cost")


def figure3(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Teachers keep, students fall: rows of Table 2."""
    whole = table2(scale, settings, seeds, assignments)
    return replace(whole, name="figure3", rows=tuple(row for row in whole.rows if row.method in KEPT))


def figure1a(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """One student under every teacher of its tokenizer that is at hand, by GKD-RKL."""
    return _study("figure1a", "gains", scale, settings, seeds, assignments, _teachers)


def figure4(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Teachers, and the misled student itself, go on from the misled student's prefixes."""
    return _study("figure4", "prefixes", scale, settings, seeds, assignments, _continued)


def failure_modes(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """How every student of Table 2 fails on prompts that it solved before."""
    return _study("failure-modes", "failures", scale, settings, seeds, assignments, _classified)


def _study(
    name: str,
    measures: Measures,
    scale: Scale,
    settings: Settings,
    seeds: tuple[int, ...],
    assignments: tuple[str, ...],
    rows: Callable[[Family, Settings, int, dict[str, Evaluate]], Iterator[tuple[str, Evaluate | Continue | Classify]]],
) -> Study:
    whole = table2(scale, settings, seeds, assignments)
    return Study(
        name=name,
        measures=measures,
        scale=scale,
        tasks=settings.tasks,
        seeds=seeds,
        rows=tuple(
            Row(family, label, seed, stage)
            for family, models in settings.families.items()
            for seed in seeds
            for label, stage in rows(models, settings, seed, _evaluations(whole, family, seed))
        ),
        settings=settings.model_dump(mode="json"),
        assignments=assignments,
    )


def _evaluations(whole: Study, family: str, seed: int) -> dict[str, Evaluate]:
    return {
        row.method: row.stage
        for row in whole.rows
        if (row.family, row.seed) == (family, seed) and isinstance(row.stage, Evaluate)
    }


def _teachers(
    models: Family, settings: Settings, seed: int, rows: dict[str, Evaluate]
) -> Iterator[tuple[str, Evaluate]]:
    """Each teacher's own evaluation under its name, and its student's as "Student of NAME"."""
    yield "Student", rows["Student"]
    teachers: dict[str, ModelInput] = {
        PRINTED.get(name, name): base_model(name) for name in (models.target, models.teacher, *models.larger_teachers)
    }
    teachers["Distillable"] = calibrated(models, settings, settings.eta_distillable, seed)
    teachers["Undistillable"] = calibrated(models, settings, settings.eta_undistillable, seed)
    if settings.controls:
        teachers["Eta0"] = calibrated(models, settings, 0.0, seed)
    for name, teacher in teachers.items():
        yield name, evaluated(teacher, settings, seed)
        yield f"Student of {name}", evaluated(on_policy(models, settings, teacher, seed), settings, seed)


def _continued(
    models: Family, settings: Settings, seed: int, rows: dict[str, Evaluate]
) -> Iterator[tuple[str, Continue]]:
    after = {label: rows[label].model for label in ("Teacher", "Undistillable", "Misled")}
    if settings.controls:
        after["Eta0"] = calibrated(models, settings, 0.0, seed)
    for label, model in after.items():
        yield (
            label,
            Continue(
                teacher=model,
                before=rows["Student"],
                after=rows["Misled"],
                prefixes=settings.prefixes,
                seed=seed,
            ),
        )


def _classified(
    models: Family, settings: Settings, seed: int, rows: dict[str, Evaluate]
) -> Iterator[tuple[str, Classify]]:
    judge = judge_of(settings)
    for label in STUDENTS:
        if label in rows:
            yield (
                label,
                Classify(
                    before=rows["Student"],
                    after=rows[label],
                    judge=judge,
                    engine=settings.evaluation.engine,
                    seed=seed,
                ),
            )
