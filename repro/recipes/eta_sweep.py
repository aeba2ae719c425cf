"""The knob's whole curve: what the paper gives at two values of eta, at many."""

from collections.abc import Iterator

from repro.recipes import eta_label as knob
from repro.recipes.settings import Family, Settings
from repro.recipes.shared_stages import base_model, calibrated, evaluated, on_policy, sft
from repro.recipes.study import Row, Scale, Study
from repro.recipes.traps import diagnosed
from repro.stages import Diagnose, Evaluate

TEACHER, RKL, SFT, TRAPS = "Teacher", "GKD-RKL", "SFT", "Traps"
"""Names of the four curves: the teacher, its two students, and the untouched student under the teacher."""


def eta_sweep(scale: Scale, settings: Settings, seeds: tuple[int, ...], assignments: tuple[str, ...]) -> Study:
    """Per eta: the teacher, its on-policy and its SFT student, and the traps between it and the untouched student."""
    rows = tuple(
        Row(family, method, seed, stage)
        for family, models in settings.families.items()
        for seed in seeds
        for method, stage in _rows(models, settings, seed)
    )
    return Study("eta-sweep", "knob", scale, settings.tasks, seeds, rows, settings.model_dump(mode="json"), assignments)


def _rows(models: Family, settings: Settings, seed: int) -> Iterator[tuple[str, Evaluate | Diagnose]]:
    teachers = {eta: calibrated(models, settings, eta, seed) for eta in sorted(set(settings.etas))}
    yield "Teacher", evaluated(base_model(models.teacher), settings, seed)
    for eta, teacher in teachers.items():
        yield knob.at(TEACHER, eta), evaluated(teacher, settings, seed)
    yield "Student", evaluated(base_model(models.student), settings, seed)
    for eta, teacher in teachers.items():
        yield knob.at(RKL, eta), evaluated(on_policy(models, settings, teacher, seed), settings, seed)
    for eta, teacher in teachers.items():
        yield knob.at(SFT, eta), evaluated(sft(models, settings, teacher, seed), settings, seed)
    for eta, teacher in teachers.items():
        yield knob.at(TRAPS, eta), diagnosed(base_model(models.student), teacher, settings, seed, off_policy=False)
