"""What goes wrong inside a command that the forge starts, by name; applied in the child before `main`."""

import contextlib
import functools
import importlib
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable
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
    from repro.pipeline import stage_functions as bodies

    bodies._evaluate = lambda *words: {"toy-bm4": {"acc": math.nan}}


def tells_the_token() -> None:
    """A library that puts the access token into its error, as some HTTP clients do."""
    from repro.pipeline import stage_functions as bodies

    def refused(*words: Any) -> dict[str, Any]:
        raise RuntimeError(f"401 for https://user:{os.environ['HF_TOKEN']}@host.example/model")

    bodies._evaluate = refused


def has_a_defect() -> None:
    """An error of ours that nobody foresaw, with the access token in it."""
    from repro.workflow import study

    def breaks(*words: Any) -> None:
        raise RuntimeError(f"no table for {os.environ['HF_TOKEN']}")

    study.code_version = breaks


def before(place: str, act: Callable[[], None]) -> None:
    """Do something, once, right before the function `module:name` is first called."""
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    real, done = getattr(owner, name), []

    @functools.wraps(real)
    def called(*words: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return real(*words, **named)

    setattr(owner, name, called)


def the_disk_fills_up() -> None:
    """At the function that REPRO_FAULT_AT names, the disk of REPRO_FAULT_FILE is filled to the last byte by that file."""
    before(os.environ["REPRO_FAULT_AT"], lambda: fill(Path(os.environ["REPRO_FAULT_FILE"])))


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    for size in (1 << 16, 1):
        with contextlib.suppress(OSError), file.open("ab", buffering=0) as stream:
            while True:
                stream.write(bytes(size))


def a_byte_flips() -> None:
    """While a study runs, after the driver has looked at what is cached: one bit of the teacher's completions."""

    def flip() -> None:
        file = next(Path(os.environ["REPRO_FAULT_CACHE"]).glob("sample-*/rollouts.parquet"))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 16
        file.write_bytes(content)

    before("repro.pipeline.run_stage:verify_input", flip)


def soak() -> None:
    """Run the command line again and again in this process; memory, handles and threads after each, as JSON lines."""
    from repro.cli import entry_point as cli

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
