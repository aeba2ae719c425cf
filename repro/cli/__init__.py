"""The command-line interface: the command `repro`."""

from repro.cli.entry_point import main

__all__ = ["main"]
