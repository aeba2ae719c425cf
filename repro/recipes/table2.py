"""Table 2 as a plan: teachers calibrated both ways, students distilled from them, everything evaluated."""

from collections.abc import Iterator

from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import answer_only, base_model, calibrated, evaluated, on_policy, sft
from repro.recipes.study import CONTROLS, METHODS, Row, Scale, Study
from repro.stages import Evaluate, ModelInput


def table2(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """The study for every family and seed in the settings."""
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, seed)
    )
    return Study(
        "table2", "evaluation", scale, settings.tasks, seeds, rows, settings.model_dump(mode="json"), assignments
    )


def _rows(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Evaluate]]:
    teacher = base_model(models.teacher)
    off_policy = sft(models, settings, teacher, seed)
    distillable = calibrated(models, settings, settings.eta_distillable, seed)
    undistillable = calibrated(models, settings, settings.eta_undistillable, seed)
    plain = calibrated(models, settings, 0.0, seed)
    models_of: dict[str, ModelInput] = {
        "Teacher": teacher,
        "Distillable": distillable,
        "Undistillable": undistillable,
        "Eta0-Teacher": plain,
        "Student": base_model(models.student),
        "SFT": off_policy,
        "GKD-FKL": off_policy.model_copy(update={"config": settings.gkd_fkl}),
        "GKD-RKL": on_policy(models, settings, teacher, seed),
        "Improve": on_policy(models, settings, distillable, seed),
        "Misled": on_policy(models, settings, undistillable, seed),
        "Eta0-Student": on_policy(models, settings, plain, seed),
        "No-reasoning": answer_only(off_policy),
    }
    for method in METHODS:
        if settings.controls or method not in CONTROLS:
            yield method, evaluated(models_of[method], settings, seed)
