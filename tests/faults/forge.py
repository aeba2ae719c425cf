"""Start `repro` many times without paying for its imports: load everything once, then fork at each order.

Orders come as JSON lines on stdin, answers go to stdout. From the parsing of its command line on, a child runs the real
command: `repro.cli.entry_point`.
"""

import gc
import importlib
import json
import os
import signal
import sys

MODULES = (
    "repro.calibration.trainer",
    "repro.cli.entry_point",
    "repro.distillation.distill",
    "repro.evaluation.evaluate",
    "repro.generation.sample",
    "repro.generation.transformers_engine",
    "repro.workflow.own_models",
    "repro.workflow.study",
)


def load() -> None:
    """Import everything that a stage of any kind uses."""
    for module in MODULES:
        importlib.import_module(module)


def child(order: dict) -> int:
    """Run the command in a new session, with its output in a file; return its exit code."""
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order.get("env", {}))
    if "cwd" in order:
        os.chdir(order["cwd"])
    sys.argv = ["repro", *order["arguments"]]
    import patches

    from repro.cli import entry_point as cli
    from repro.cli.console import err_console, out_console

    if order.get("patch"):
        getattr(patches, order["patch"])()

    for console in (out_console, err_console):
        console.file = None  # the current stdout
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def main() -> None:
    load()
    gc.collect()
    gc.freeze()  # else the garbage collector of every child would visit all imported objects, and copy their pages
    reply({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            ended, status = os.waitpid(order["wait"], os.WNOHANG)
            reply({"number": order["number"], "code": os.waitstatus_to_exitcode(status) if ended else None})
            continue
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                code = child(order)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        reply({"number": order["number"], "pid": pid})


def reply(content: dict) -> None:
    """Send one line to the test."""
    os.write(_answers, (json.dumps(content) + "\n").encode())


if __name__ == "__main__":
    _answers = os.dup(1)
    os.dup2(2, 1)
    main()
