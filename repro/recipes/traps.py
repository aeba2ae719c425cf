"""The studies that measure the traps: Table 1 and Figure 2 (sections 4.1, 4.2), and Table 4 (section 6.4)."""

from collections.abc import Callable, Iterator

from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import base_model, calibrated, task_data
from repro.recipes.study import Measures, Row, Scale, Study
from repro.stages import Diagnose, ModelInput, Sample

PRINTED = {
    "google/gemma-3-12b-it": "Gemma-3-12B",
    "google/gemma-3-27b-it": "Gemma-3-27B",
    "Qwen/Qwen3-8B": "Qwen3-8B",
    "Qwen/Qwen3-14B": "Qwen3-14B",
    "Qwen/Qwen3-32B": "Qwen3-32B",
}
"""Teachers as Table 1 calls them; any other goes by its own name."""


def table1(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Every pair of every family: one row per teacher, on- and off-policy."""
    return _study("table1", "traps", scale, settings, seeds, assignments, _pairs)


def figure2(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """The diagnoses of Table 1, read for which tokens drive the divergence."""
    return _study("figure2", "contributions", scale, settings, seeds, assignments, _pairs)


def table4(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """The student under the original, the distillable and the undistillable teacher of Table 2, on its tasks."""
    return _study("table4", "traps", scale, settings, seeds, assignments, _variants)


def completions_of(model: ModelInput, settings: Settings, seed: int) -> Sample:
    """Held-out prompts, sampled as the evaluation is: 16 completions at temperature 1 (PAPER, section 4.1)."""
    return Sample(model=model, data=task_data(settings, "test"), config=settings.evaluation, seed=seed)


def _study(
    name: str,
    measures: Measures,
    scale: Scale,
    settings: Settings,
    seeds: tuple[int, ...],
    assignments: tuple[str, ...],
    rows: Callable[[Family, Settings, int], Iterator[tuple[str, Diagnose]]],
) -> Study:
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
            for label, stage in rows(models, settings, seed)
        ),
        settings=settings.model_dump(mode="json"),
        assignments=assignments,
    )


def _pairs(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Diagnose]]:
    student = base_model(models.student)
    for name in (models.teacher, *models.larger_teachers):
        teacher = base_model(name)
        yield PRINTED.get(name, name), diagnosed(student, teacher, settings, seed, off_policy=True)


def _variants(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Diagnose]]:
    student = base_model(models.student)
    teachers: dict[str, ModelInput] = {
        "Original": base_model(models.teacher),
        "Distillable": calibrated(models, settings, settings.eta_distillable, seed),
        "Undistillable": calibrated(models, settings, settings.eta_undistillable, seed),
    }
    if settings.controls:
        teachers["Eta0"] = calibrated(models, settings, 0.0, seed)
    for variant, teacher in teachers.items():
        yield variant, diagnosed(student, teacher, settings, seed, off_policy=False)


def diagnosed(student: ModelInput, teacher: ModelInput, settings: Settings, seed: int, *, off_policy: bool) -> Diagnose:
    """The traps between a student and a teacher on the held-out prompts of the study."""
    return Diagnose(
        student=student,
        teacher=teacher,
        on_policy=completions_of(student, settings, seed),
        off_policy=completions_of(teacher, settings, seed) if off_policy else None,
        across_tokenizers=False,
        config=settings.diagnosis,
        seed=seed,
    )
