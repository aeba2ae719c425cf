"""Accuracy of a student's completions during training: where it started, where it ended, and whether it fell.

On-policy training samples from the student itself, so the first steps show the untouched student and the last steps the
trained one, both on training prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

FIRST_STEPS = 3
"""ASSUMED: number of steps averaged to represent the untouched student; the learning rate is still warming up."""
FEWEST_STEPS = 10
"""Minimum steps for estimating the noise of a step."""
SMALLEST_FALL = 0.05
STANDARD_ERRORS = 3.0
"""ASSUMED, from 332 GKD-RKL students of the embedded world. 272 have held-out evaluations of both trained and untouched
student: the rule flags 167 of the 198 that are worse by more than 0.05, and none of the other 74."""


@dataclass(frozen=True)
class AccuracyCourse:
    """Mean accuracies, in [0, 1].

    Attributes:
        first: over `first_steps`.
        last: over `last_steps`, the last tenth.
        steps: total number of steps with an accuracy.
        has_fallen: the fall exceeds both the noise and `SMALLEST_FALL`.
    """

    first: float
    last: float
    first_steps: int
    last_steps: int
    steps: int
    has_fallen: bool


def accuracy_course(rows: Sequence[Mapping[str, Any]]) -> AccuracyCourse | None:
    """Compare the last tenth of the steps with the first steps; None if fewer than two steps logged an accuracy.

    The per-step noise is estimated from differences of successive steps, which are nearly free of trend; a fall must
    exceed three standard errors of the difference of the two means.

    Args:
        rows: history.jsonl.
    """
    values = [float(row["accuracy"]) for row in rows if row.get("accuracy") is not None]
    if len(values) < 2:
        return None
    head, tail = min(FIRST_STEPS, len(values) // 2), max(1, round(len(values) / 10))
    first, last = sum(values[:head]) / head, sum(values[-tail:]) / tail
    variance = sum((after - before) ** 2 for before, after in pairwise(values)) / (2 * (len(values) - 1))
    standard_error = sqrt(variance * (1 / head + 1 / tail))
    is_clear = first - last > max(SMALLEST_FALL, STANDARD_ERRORS * standard_error)
    return AccuracyCourse(first, last, head, tail, len(values), len(values) >= FEWEST_STEPS and is_clear)


def describe_course(course: AccuracyCourse) -> str:
    """Describe the two means and their steps."""
    return (
        f"accuracy of the student's training completions: {course.first:.3f} in the first {_steps(course.first_steps)},"
        f" {course.last:.3f} in the last {_steps(course.last_steps)} of {course.steps}"
    )


def describe_fall(course: AccuracyCourse) -> str:
    """Return the warning for a student that has become worse."""
    return (
        f"The student became worse: {course.first:.0%} of its training completions were correct in the first"
        f" {_steps(course.first_steps)}, {course.last:.0%} in the last {_steps(course.last_steps)}. Evaluate the original"
        " student on the same rows and with the same options (repro evaluate STUDENT) to compare; docs/troubleshooting.md"
        " lists common causes."
    )


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"
