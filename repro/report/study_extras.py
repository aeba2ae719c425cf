"""Facts needed only by a single study's page, stored in its results.json."""

from pathlib import Path
from typing import Any

from repro.attacks.base import Attack
from repro.attacks.leak import ladder_of
from repro.attacks.matrix import attacks_of, guards_of
from repro.distillation.loss import LOSSES
from repro.guards.base import Guard, ModelGuard
from repro.recipes.settings import MatrixSettings, Settings
from repro.recipes.study import Study
from repro.report.result import Extras, LeakRung, LossLine, MatrixSide
from repro.tables.measurements.costs import parameters_of, study_costs
from repro.tables.measurements.guard_speed import guard_speeds
from repro.tables.measurements.leak import study_queries


def stage_costs(study: Study, cache: Path) -> Extras:
    """Collect the costs of every stage."""
    return {"costs": study_costs(study, cache)}


def teacher_sizes(study: Study, cache: Path) -> Extras:
    """Collect the number of parameters of every teacher, None if unknown."""
    sizes: dict[str, dict[str, float | None]] = {}
    teachers = {row.of for row in study.rows}
    for row in study.rows:
        if row.method in teachers:
            evaluation: Any = row.stage
            sizes.setdefault(row.family, {})[row.method] = parameters_of(evaluation.model, cache)
    return {"parameters": sizes}


def matrix(study: Study, cache: Path) -> Extras:
    """Collect the guards and attacks of a matrix, in the order of the settings, and how fast guarded teachers answer."""
    settings = MatrixSettings.model_validate(study.settings["matrix"])

    def side(plugin: Guard | Attack, level: str) -> MatrixSide:
        return {"label": plugin.label, "formula": plugin.formula, "source": plugin.source, "shows_or_needs": level}

    return {
        "matrix": {
            "guards": [{**side(g, g.shows), "trains": isinstance(g, ModelGuard)} for g in guards_of(settings)],
            "attacks": [side(attack, attack.needs) for attack in attacks_of(settings)],
            "speed": guard_speeds(study, cache),
        }
    }


def leak(study: Study, cache: Path) -> Extras:
    """Collect what a matrix has, the rung of each attack, and each student's queries to the teacher."""
    attacks = ladder_of(attacks_of(MatrixSettings.model_validate(study.settings["matrix"])))
    rungs: list[LeakRung] = [{"rung": attack.rung, "attack": attack.label} for attack in attacks]
    return {**matrix(study, cache), "leak": {"rungs": rungs, "queries": study_queries(study, cache)}}


def losses(study: Study, cache: Path) -> Extras:
    """Collect what each loss computes, reverse KL, which the others replace, first."""

    def line(name: str) -> LossLine:
        loss = LOSSES.parse(name)
        settings = ", ".join(f"{key}={getattr(loss, key)}" for key in type(loss).model_fields)
        return {"label": loss.label, "formula": loss.formula, "settings": settings, "source": loss.source}

    return {"losses": [line(name) for name in ("rkl", *Settings.model_validate(study.settings).losses)]}
