"""The command `repro`: each command parses its arguments, calls one function, prints, and sets the exit code."""

from repro.cli.entry_point import main

__all__ = ["main"]
