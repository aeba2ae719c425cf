"""Table 2 as a plan: teachers calibrated both ways, students distilled from them, everything evaluated."""

from collections.abc import Iterator

from repro.pipeline.stages import Distill, Evaluate, ModelInput, Sample
from repro.recipes.inputs import base, calibrated, reward_model_of, task_data
from repro.recipes.settings import Family, Settings
from repro.recipes.study import CONTROLS, METHODS, Row, Scale, Study


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
    teacher, student = base(models.teacher), base(models.student)
    reward_model = reward_model_of(settings)
    train, test = task_data(settings, "train"), task_data(settings, "test")

    def on_policy(source: ModelInput) -> Distill:
        return Distill(
            student=student,
            teacher=source,
            samples=None,
            data=train,
            reward_model=reward_model,
            config=settings.gkd_rkl,
            seed=seed,
        )

    samples = Sample(model=teacher, data=train, config=settings.teacher_sampling, seed=seed)
    sft = Distill(
        student=student,
        teacher=teacher,
        samples=samples,
        data=train,
        reward_model=reward_model,
        config=settings.sft,
        seed=seed,
    )
    no_reasoning = sft.model_copy(update={"config": settings.sft.model_copy(update={"traces": "answer-only"})})
    distillable = calibrated(models, settings, settings.eta_distillable, seed)
    undistillable = calibrated(models, settings, settings.eta_undistillable, seed)
    plain = calibrated(models, settings, 0.0, seed)
    models_of: dict[str, ModelInput] = {
        "Teacher": teacher,
        "Distillable": distillable,
        "Undistillable": undistillable,
        "Eta0-Teacher": plain,
        "Student": student,
        "SFT": sft,
        "GKD-FKL": sft.model_copy(update={"config": settings.gkd_fkl}),
        "GKD-RKL": on_policy(teacher),
        "Improve": on_policy(distillable),
        "Misled": on_policy(undistillable),
        "Eta0-Student": on_policy(plain),
        "No-reasoning": no_reasoning,
    }
    for method in METHODS:
        if settings.controls or method not in CONTROLS:
            yield (
                method,
                Evaluate(
                    model=models_of[method],
                    data=test,
                    reward_model=reward_model,
                    config=settings.evaluation,
                    seed=seed,
                ),
            )
