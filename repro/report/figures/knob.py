"""Consistent colours: hue and marker by position of the knob, solid lines for teachers, dashed for students.

Markers and dashes repeat the information in the hues, for print and for colour-blind readers.
"""

import re
from typing import Any

from repro.report.figures.style import Palette

POSITIONS: dict[str, tuple[int, str]] = {"untouched": (5, "o"), "above": (0, "^"), "zero": (4, "s"), "below": (1, "v")}
"""Position of the knob -> (index into the palette's series, marker)."""
_FURTHER: dict[str, tuple[int, str]] = {"SFT": (3, "P"), "GKD-FKL": (7, "X"), "No-reasoning": (6, "*")}
_NAMES = {
    "above": ("Distillable", "Improve"),
    "below": ("Undistillable", "Misled"),
    "zero": ("Eta0",),
}
_OF_TEACHER = re.compile(r" \((Distillable|Undistillable)\)$")
"""The teacher of a student by another method than GKD-RKL: "SFT (Distillable)"."""
_OF_SWEEP = re.compile(r", eta ([+-][\d.]+)$")
_STUDENTS = ("Student", "SFT", "GKD", "Improve", "Misled", "Eta0-Student", "No-reasoning", "No-teacher", "no-teacher")


def knob_position(row: str) -> str:
    """Return the position of the knob that a row (or its teacher) was calibrated to."""
    if of_sweep := _OF_SWEEP.search(row):
        eta = float(of_sweep[1])
        return "below" if eta < 0 else "above" if eta > 0 else "zero"
    if " under knob" in row:  # the guard: a teacher with eta below 0, or a student of it
        return "below"
    of_teacher = _OF_TEACHER.search(row)
    name = of_teacher[1] if of_teacher else row.removeprefix("Student of ")
    return next((position for position, names in _NAMES.items() if name.startswith(names)), "untouched")


def is_student(row: str) -> bool:
    """Return True for the row of a student."""
    is_of_an_attack = " under " in row and not row.startswith("Teacher")
    return is_of_an_attack or row.startswith(_STUDENTS)


def line_style(row: str, palette: Palette) -> dict[str, Any]:
    """Return colour, marker and dash of a row's line."""
    position = knob_position(row)
    further = (style for name, style in _FURTHER.items() if row.startswith(name) and position == "untouched")
    index, marker = next(further, POSITIONS[position])
    return {"color": palette.series[index], "marker": marker, "linestyle": "--" if is_student(row) else "-"}
