"""What goes wrong inside a command that the forge starts, by name; applied in the child before `main`."""

import itertools
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil


def clock_jumps() -> None:
    """The wall clock jumps ten years ahead and twenty back, again and again."""
    real, number = time.time, itertools.count()

    def jumping() -> float:
        return real() + (-1) ** next(number) * 3.15e8

    time.time = jumping
    time.time_ns = lambda: int(jumping() * 1e9)


def not_a_number() -> None:
    """Every evaluation ends with an accuracy that is not a number."""
    from repro.pipeline import bodies

    bodies._evaluate = lambda *words: {"toy-bm4": {"acc": math.nan}}


def tells_the_token() -> None:
    """A library that puts the access token into its error, as some HTTP clients do."""
    from repro.pipeline import bodies

    def refused(*words: Any) -> dict[str, Any]:
        raise RuntimeError(f"401 for https://user:{os.environ['HF_TOKEN']}@host.example/model")

    bodies._evaluate = refused


def soak() -> None:
    """Run the command line again and again in this process; memory, handles and threads after each, as JSON lines."""
    from repro import cli

    main, words = cli.main, list(sys.argv)
    figures = Path(os.environ["REPRO_SOAK_FIGURES"])

    def again() -> None:
        process = psutil.Process()
        codes = []
        for number in range(int(os.environ["REPRO_SOAK_STUDIES"])):
            sys.argv = [word.replace("{n}", str(number)) for word in words]
            try:
                main()
            except SystemExit as end:
                codes.append(end.code)
            with process.oneshot():
                line = {"code": codes[-1], "rss": process.memory_info().rss, "threads": process.num_threads()}
            line |= {"files": process.num_fds(), "children": len(process.children(recursive=True))}
            with figures.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        sys.exit(max(codes))

    cli.main = again
