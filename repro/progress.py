"""Progress reporting: the callback that a stage passes to long-running work."""

from typing import Protocol

RESUMED = "resumed at step"
"""Begins the part of a training's note that names the step which it was resumed at."""


class Progress(Protocol):
    """A cheap callback, called often: done and total count `unit`s (steps, prompts); note is a short live figure."""

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None: ...


def silent(done: int, total: int, unit: str, note: str = "") -> None:
    """Report nothing, in tests and library use."""
