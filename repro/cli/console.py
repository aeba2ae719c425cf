"""Consoles: results on standard output, everything else on standard error."""

from rich.console import Console

from repro.system.redaction import redact

out_console = Console()
err_console = Console(stderr=True)


def print_error(text: str, style: str = "red") -> None:
    """Print one line to standard error, without what looks like an access token."""
    err_console.print(redact(text), style=style, highlight=False, markup=False, soft_wrap=True)
