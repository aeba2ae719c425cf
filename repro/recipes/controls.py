"""What else could explain a misled student: the calibration of Table 2 with one thing changed at a time (docs/controls.md)."""

from collections.abc import Iterator

from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import answer_only, base_model, calibrated, evaluated, on_policy, sft
from repro.recipes.study import Row, Scale, Study
from repro.stages import Calibrate, Evaluate, ModelInput


def controls(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Undistillable teachers of each variant, and their students, beside Table 2's rows (stages shared)."""
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, seed)
    )
    return Study(
        "controls", "evaluation", scale, settings.tasks, seeds, rows, settings.model_dump(mode="json"), assignments
    )


def variants(models: Family, settings: Settings, seed: int) -> dict[str, Calibrate]:
    """Name -> the undistillable teacher with one thing changed; no other target where the family names none."""
    paper = calibrated(models, settings, settings.eta_undistillable, seed)

    def changed(**update: object) -> Calibrate:
        return paper.model_copy(update={"config": paper.config.model_copy(update=update)})

    found = {"per token": changed(length_normalised=True), "batch": changed(advantages="batch")}
    if models.other_target:
        found["other target"] = paper.model_copy(update={"target": base_model(models.other_target)})
    return found


def _rows(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Evaluate]]:
    teacher = base_model(models.teacher)
    teachers: dict[str, tuple[str, ModelInput]] = {
        "Undistillable": ("Misled", calibrated(models, settings, settings.eta_undistillable, seed)),
        "Eta0-Teacher": ("Eta0-Student", calibrated(models, settings, 0.0, seed)),
    }
    for name, one in variants(models, settings, seed).items():
        teachers[f"Undistillable ({name})"] = (f"Misled ({name})", one)
    yield "Teacher", evaluated(teacher, settings, seed)
    for method, (_, model) in teachers.items():
        yield method, evaluated(model, settings, seed)
    yield "Student", evaluated(base_model(models.student), settings, seed)
    off_policy = sft(models, settings, teacher, seed)
    yield "SFT", evaluated(off_policy, settings, seed)
    yield "No-reasoning", evaluated(answer_only(off_policy), settings, seed)
    for method, model in teachers.values():
        yield method, evaluated(on_policy(models, settings, model, seed), settings, seed)
