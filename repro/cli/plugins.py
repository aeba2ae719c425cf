"""Lists of what joins by name: `repro list --losses` and its like."""

from typing import Any

from repro.cli.console import out_console
from repro.system.plugins import Registry


def print_plugins(registry: Registry[Any]) -> None:
    """Print each name with its settings, formula and source."""
    for name, text in registry.describe():
        out_console.print(name, style="bold", highlight=False, markup=False)
        for line in text.splitlines():
            out_console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
