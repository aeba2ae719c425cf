"""Tables 3 and 7 (section 6.3, appendix F): a teacher calibrated on some tasks, judged on those that it never saw."""

from collections.abc import Iterator

from repro.errors import InputError
from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import Tasks, base_model, calibrated, evaluated, on_policy
from repro.recipes.study import Row, Scale, Study
from repro.stages import Evaluate
from repro.tasks import registry


def table3(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Calibrated on mathematics alone; OOD: distilled there too, CD: distilled on the task that is evaluated."""
    return _study("table3", scale, settings, seeds, assignments)


def table7(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """The same with the further pairs, calibrated on one data set (gsm8k)."""
    return _study("table7", scale, settings, seeds, assignments)


def unseen_tasks(settings: Settings) -> Tasks:
    """Tasks with a key that nothing is calibrated on: both tables print accuracies only.

    Raises:
        InputError: there is none, or a source task is not among the study's.
    """
    foreign = [task for task in settings.source_tasks if task not in settings.tasks]
    if foreign:
        raise InputError(
            f"source_tasks: {foreign[0]} is not among the tasks {', '.join(settings.tasks)}. Add it to --set tasks=..."
        )
    found = tuple(
        task for task in settings.tasks if task not in settings.source_tasks and registry.kind_of(task) != "open"
    )
    if not found:
        raise InputError(
            f"tasks {', '.join(settings.tasks)}: none with a key is unseen, all are calibrated on. Add one to"
            " --set tasks=..., or name fewer in --set source_tasks=..."
        )
    return found


def _study(name: str, scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    unseen = unseen_tasks(settings)
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, unseen, seed)
    )
    return Study(name, "evaluation", scale, unseen, seeds, rows, settings.model_dump(mode="json"), assignments)


def _rows(models: Family, settings: Settings, unseen: Tasks, seed: int) -> Iterator[tuple[str, Evaluate]]:
    """Untouched models are evaluated on all tasks, as Table 2 (or 6) does: the same stage where the tasks are the same."""
    source = settings.source_tasks
    undistillable = calibrated(models, settings, settings.eta_undistillable, seed, source)
    plain = calibrated(models, settings, 0.0, seed, source)
    yield "Teacher", evaluated(base_model(models.teacher), settings, seed)
    yield "Undistillable (OOD)", evaluated(undistillable, settings, seed, unseen)
    if settings.controls:
        yield "Eta0-Teacher (OOD)", evaluated(plain, settings, seed, unseen)
    yield "Student", evaluated(base_model(models.student), settings, seed)
    students = {"Misled": undistillable} | ({"Eta0-Student": plain} if settings.controls else {})
    for method, teacher in students.items():
        yield f"{method} (OOD)", evaluated(on_policy(models, settings, teacher, seed, source), settings, seed, unseen)
        for task in unseen:
            student = on_policy(models, settings, teacher, seed, (task,))
            yield f"{method} (CD)", evaluated(student, settings, seed, (task,))
