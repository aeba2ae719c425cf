"""Table 2: teachers calibrated both ways, students distilled from them, everything evaluated."""

from collections.abc import Iterator

from repro.recipes.shared_stages import Pair
from repro.recipes.study import Row
from repro.stages import ModelInput

CONTROLS = frozenset({"Eta0-Teacher", "Eta0-Student", "No-reasoning"})
"""Rows that the paper lacks: plain RFT (eta = 0), its student, and teacher traces cut to their final answer."""


def rows(pair: Pair) -> Iterator[Row]:
    """Yield the rows in the paper's order, our controls among them."""
    distillable, undistillable = pair.calibrate_distillable(), pair.calibrate_undistillable()
    plain = pair.calibrate(0.0)
    models: dict[str, ModelInput] = {
        "Teacher": pair.teacher,
        "Distillable": distillable,
        "Undistillable": undistillable,
        "Eta0-Teacher": plain,
        "Student": pair.student,
        "SFT": pair.sft(pair.teacher),
        "GKD-FKL": pair.gkd_fkl(pair.teacher),
        "GKD-RKL": pair.gkd_rkl(pair.teacher),
        "Improve": pair.gkd_rkl(distillable),
        "Misled": pair.gkd_rkl(undistillable),
        "Eta0-Student": pair.gkd_rkl(plain),
        "No-reasoning": pair.no_reasoning(pair.teacher),
    }
    for method, model in models.items():
        if pair.settings.controls or method not in CONTROLS:
            yield pair.row(method, pair.evaluate(model))
