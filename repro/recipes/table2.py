"""Table 2 as a plan: teachers calibrated both ways, students distilled from them, everything evaluated."""

from collections.abc import Iterator

from repro.models import revision_of
from repro.pipeline.stages import BaseModelRef, Calibrate, Distill, Evaluate, ModelInput, Sample, TaskData
from repro.recipes.settings import Family, Settings
from repro.recipes.study import CONTROLS, METHODS, Row, Scale, Study
from repro.tasks import registry

ITEM_ORDER = 0
"""Items are the same for every seed: seeds are repetitions of training and sampling, paired on the items."""


def table2(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """The study for every family and seed in the settings."""
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, seed)
    )
    return Study("table2", scale, settings.tasks, seeds, rows, settings.model_dump(mode="json"), assignments)


def base(name: str) -> BaseModelRef:
    """A model from outside, with the identity of its content."""
    return BaseModelRef(name=name, revision=revision_of(name))


def _rows(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Evaluate]]:
    teacher, student = base(models.teacher), base(models.student)
    open_ended = any(registry.kind_of(task) == "open" for task in settings.tasks)
    reward_model = base(settings.reward_model) if settings.reward_model and open_ended else None
    train = tuple(TaskData(task=t, split="train", n=settings.train_items, seed=ITEM_ORDER) for t in settings.tasks)
    test = tuple(TaskData(task=t, split="test", n=settings.test_items, seed=ITEM_ORDER) for t in settings.tasks)

    def calibrated(eta: float) -> Calibrate:
        return Calibrate(
            teacher=teacher,
            target=base(models.target),
            data=train,
            reward_model=reward_model,
            config=settings.calibration.model_copy(update={"eta": eta}),
            seed=seed,
        )

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
    distillable = calibrated(settings.eta_distillable)
    undistillable = calibrated(settings.eta_undistillable)
    plain = calibrated(0.0)
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
