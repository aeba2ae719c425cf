"""Lists of what settings name: `repro list --losses` and its like."""

from typing import Any

from repro.cli.console import out_console
from repro.system.plugins import Registry


def print_plugins(registry: Registry[Any], *, heading: bool = False) -> None:
    """Print each name with its settings, formula and source; under a heading, if other lists stand beside it."""
    if heading:
        plural = {"loss": "losses", "rows": "rows"}.get(registry.noun, f"{registry.noun}s")
        out_console.print(f"{plural.capitalize()}:", highlight=False, markup=False)
    if not registry.names():
        out_console.print(
            "none installed; `repro run STUDY --plugin FILE` loads them from a Python file", highlight=False
        )
    for name, text in registry.describe():
        out_console.print(name, style="bold", highlight=False, markup=False)
        for line in text.splitlines():
            out_console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)


def print_tasks() -> None:
    """Print each task with its kind and the source of its rows."""
    from repro.tasks import registry
    from repro.tasks.own_file import KINDS

    for name in registry.names():
        hub = registry.hub_of(name)
        if registry.is_toy_task(name):
            source = "rows of the embedded world"
        elif hub is None:
            source = "rows of your file (--data FILE)" if name in KINDS else "rows of an installed package or plug-in"
        else:
            source = hub.id if registry.has_training_rows(name) else f"{hub.id}, for evaluation only"
        out_console.print(
            f"{name:<22}{registry.kind_of(name):<9}{source}", highlight=False, markup=False, soft_wrap=True
        )
