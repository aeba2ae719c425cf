"""The forge: a fork server whose processes run the command `repro`, without paying for its imports.

From the parsing of its command line on, a process runs the real command: `repro.cli.entry_point`.
"""

import os
import signal
import sys
from typing import Any

from repro.pipeline.stage_process import MODULES
from repro.system.fork_server import serve

COMMAND = ("repro.cli.entry_point", "repro.workflow.own_models", "repro.workflow.study")


def run(order: dict[str, Any]) -> None:
    """Run the command in a new session; exits with its code."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(order["env"])
    if order["cwd"]:
        os.chdir(order["cwd"])
    sys.argv = ["repro", *order["arguments"]]
    import patches

    from repro.cli import entry_point as cli
    from repro.cli.console import err_console, out_console

    if order["patch"]:
        getattr(patches, order["patch"])()
    for console in (out_console, err_console):
        console.file = None  # the current stdout
    cli.main()


if __name__ == "__main__":
    serve((*COMMAND, *MODULES), run)
