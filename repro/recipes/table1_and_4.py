"""Table 1 and Figure 2 (sections 4.1, 4.2): the traps of every pair. Table 4 (section 6.4): under calibrated teachers."""

from collections.abc import Iterator

from repro.recipes.shared_stages import Pair, base_model
from repro.recipes.study import Row
from repro.stages import ModelInput

PRINTED_NAMES = {
    "google/gemma-3-12b-it": "Gemma-3-12B",
    "google/gemma-3-27b-it": "Gemma-3-27B",
    "Qwen/Qwen3-8B": "Qwen3-8B",
    "Qwen/Qwen3-14B": "Qwen3-14B",
    "Qwen/Qwen3-32B": "Qwen3-32B",
}
"""Teachers as Table 1 calls them; any other keeps its name."""


STUDENT_OF = {"Original": "GKD-RKL", "Distillable": "Improve", "Undistillable": "Misled"}
"""The row of Table 2 whose student learned on-policy from each teacher of Table 4."""


def pair_rows(pair: Pair) -> Iterator[Row]:
    """Yield a row per teacher of the family, each once, on- and off-policy."""
    for name in dict.fromkeys((pair.models.teacher, *pair.models.larger_teachers)):
        yield pair.row(PRINTED_NAMES.get(name, name), pair.diagnose(base_model(name), off_policy=True))


def calibrated_rows(pair: Pair) -> Iterator[Row]:
    """Yield the student under the original, the distillable and the undistillable teacher of Table 2, on its tasks.

    And what becomes of the student under each (rows of Table 2): section 6.4 says that the two correlate.
    """
    teachers: dict[str, ModelInput] = {
        "Original": pair.teacher,
        "Distillable": pair.calibrate_distillable(),
        "Undistillable": pair.calibrate_undistillable(),
    }
    if pair.settings.controls:
        teachers["Eta0"] = pair.calibrate(0.0)
    for method, teacher in teachers.items():
        yield pair.row(method, pair.diagnose(teacher, off_policy=False))
    for method, student in STUDENT_OF.items():
        yield pair.row(student, pair.evaluate(pair.gkd_rkl(teachers[method])), of=method)
