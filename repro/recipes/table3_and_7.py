"""Tables 3 and 7 (section 6.3, appendix F): a teacher calibrated on some tasks, evaluated on unseen ones.

OOD: the student is distilled where the teacher was calibrated. CD: it is distilled on the task that is evaluated. Table 7
does the same with the further pairs.
"""

from collections.abc import Iterator

from repro.errors import InputError
from repro.recipes.settings import Settings
from repro.recipes.shared_stages import Pair, Tasks
from repro.recipes.study import Row
from repro.tasks import registry


def unseen_tasks(settings: Settings) -> Tasks:
    """Return the tasks with an answer key that nothing is calibrated on: both tables print accuracies only.

    Raises:
        InputError: there is none, or a source task is not among the study's.
    """
    unknown = [task for task in settings.source_tasks if task not in settings.tasks]
    if unknown:
        raise InputError(
            f"source_tasks: {unknown[0]} is not among the tasks {', '.join(settings.tasks)}. Add it to --set tasks=..."
        )
    unseen = tuple(
        task for task in settings.tasks if task not in settings.source_tasks and registry.kind_of(task) != "open"
    )
    if not unseen:
        raise InputError(
            f"tasks {', '.join(settings.tasks)}: all tasks with an answer key are calibrated on, so none is unseen. Add one to"
            " --set tasks=..., or name fewer in --set source_tasks=..."
        )
    return unseen


def rows(pair: Pair) -> Iterator[Row]:
    """Yield the rows of both; untouched models are evaluated on all tasks, in the stages of Table 2 or 6."""
    source, unseen = pair.settings.source_tasks, unseen_tasks(pair.settings)
    undistillable, plain = pair.calibrate_undistillable(source), pair.calibrate(0.0, source)
    yield pair.row("Teacher", pair.evaluate(pair.teacher))
    yield pair.row("Undistillable (OOD)", pair.evaluate(undistillable, unseen))
    if pair.settings.controls:
        yield pair.row("Eta0-Teacher (OOD)", pair.evaluate(plain, unseen))
    yield pair.row("Student", pair.evaluate(pair.student))
    students = {"Misled": undistillable} | ({"Eta0-Student": plain} if pair.settings.controls else {})
    for method, teacher in students.items():
        yield pair.row(f"{method} (OOD)", pair.evaluate(pair.gkd_rkl(teacher, source), unseen))
        for task in unseen:
            yield pair.row(f"{method} (CD)", pair.evaluate(pair.gkd_rkl(teacher, (task,)), (task,)))
