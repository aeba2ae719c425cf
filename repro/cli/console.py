"""Consoles: results on standard output, everything else on standard error."""

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console

from repro.system.redaction import redact

out_console = Console()
err_console = Console(stderr=True)


def replace_unprintable() -> None:
    """Print characters missing from the terminal's encoding, such as ± in ASCII, as "?" instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def full_width(console: Console, columns: int) -> Iterator[None]:
    """Disable folding when output is not a terminal: a file or pipe has no width, and rich assumes 80 columns."""
    width = console.width
    if not console.is_terminal:
        console.width = max(width, columns)
    try:
        yield
    finally:
        console.width = width


def print_notes(lines: Iterable[str]) -> None:
    """Print what the user should know of a command to standard error, a line each."""
    for line in lines:
        print_error(f"note: {line}", "yellow")


def print_error(text: str, style: str = "red") -> None:
    """Print one line to standard error, without what looks like an access token."""
    err_console.print(redact(text), style=style, highlight=False, markup=False, soft_wrap=True)
