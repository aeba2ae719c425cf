"""Table 6 (appendix F): further pairs, each teacher calibrated and each student distilled on the data set of its column."""

from collections.abc import Iterator

from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import base_model, calibrated, evaluated, on_policy
from repro.recipes.study import Row, Scale, Study
from repro.stages import Evaluate


def table6(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """One calibration and one student per task: unlike Table 2, the paper says so here ("on same dataset")."""
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, seed)
    )
    return Study(
        "table6", "evaluation", scale, settings.tasks, seeds, rows, settings.model_dump(mode="json"), assignments
    )


def _rows(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Evaluate]]:
    variants = {"Undistillable": ("Misled", settings.eta_undistillable)}
    if settings.controls:
        variants["Eta0-Teacher"] = ("Eta0-Student", 0.0)
    teachers = {
        (label, task): calibrated(models, settings, eta, seed, (task,))
        for label, (_, eta) in variants.items()
        for task in settings.tasks
    }
    yield "Teacher", evaluated(base_model(models.teacher), settings, seed)
    for (label, task), teacher in teachers.items():
        yield label, evaluated(teacher, settings, seed, (task,))
    yield "Student", evaluated(base_model(models.student), settings, seed)
    for (label, task), teacher in teachers.items():
        yield (
            variants[label][0],
            evaluated(on_policy(models, settings, teacher, seed, (task,)), settings, seed, (task,)),
        )
