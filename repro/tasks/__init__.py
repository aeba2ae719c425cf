"""Tasks: data set rows as prompts with answer keys, behind one small interface."""

from repro.tasks.task import Item, Kind, Task

__all__ = ["Item", "Kind", "Task"]
