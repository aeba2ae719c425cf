"""How long work tells how far it is: a callable that the stage passes down."""

from typing import Protocol


class Progress(Protocol):
    """Called often; cheap. done and total count `unit`s (steps, prompts); note is a short live figure."""

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None: ...


def silent(done: int, total: int, unit: str, note: str = "") -> None:
    """No progress shown: tests and library use."""
