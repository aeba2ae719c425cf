"""Entry point of the command `repro`: signals and exceptions become messages and exit codes."""

import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any

import pydantic
import typer

from repro.cli.app import app
from repro.cli.console import print_error, replace_unprintable
from repro.errors import InputError, Interrupted, StageError

# typer vendors click and exports only this one of its error classes; the grandparent is their common base
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command and exit with its code. An interrupted run can be resumed."""
    replace_unprintable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _interrupt_again
    try:
        sys.exit(_run())
    except Interrupted as interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print_error(": ".join(filter(None, ("interrupted", str(interruption)))))
        sys.exit(130)


def _run() -> int:
    """Run the command and return its exit code; a user's mistake prints one line and returns 2."""
    try:
        return app(prog_name="repro", standalone_mode=False) or 0
    except SystemExit as error:
        # only click's, for a reader that went away (`repro list | head`): its 1 would say "contradicted"
        return 128 + signal.SIGPIPE if error.code == 1 else 2
    except _USAGE_ERROR as error:
        print_error(f"error: {_usage_line(error)}")
        return 2
    except InputError as error:
        print_error(f"error: {error}")
        return 2
    except StageError as error:
        print_error(f"failed: {error}")
        return 3
    except Exception as error:
        from repro.pipeline.error_advice import disk_error

        if cause := disk_error(error):
            file = getattr(error, "filename", None) or "output"
            print_error(f"error: {file}: {cause}. Fix it and run again.")
            return 2
        # Our error, not the user's: never the exit code that says "contradicted"
        print_error(traceback.format_exc().rstrip(), style="")
        print_error("failed: internal error, see the traceback above")
        return 3


def _usage_line(error: Any) -> str:
    """Return one line on what is wrong with a command line: the problem, the offending value, and the help page."""
    text = error.format_message().rstrip(".").replace("Value error, ", "").replace("Input should be", "must be")
    if isinstance(error.__cause__, pydantic.ValidationError):
        value = error.__cause__.errors()[0]["input"]
        if repr(value) not in text:
            text = text.replace("Invalid value for", f"Invalid value {value!r} for", 1)
    page = error.ctx.command_path if error.ctx else "repro"
    return f"{text}{'' if text.endswith('?') else '.'} See {page} --help."


def _interrupt(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nstopping ...\n")  # at once: ending the stages takes seconds, and a console may be amid a line
    raise Interrupted


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Resend, a moment later, an interrupt that arrived in a destructor, where Python would swallow it."""
    if isinstance(lost.exc_value, Interrupted):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)
