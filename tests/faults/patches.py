"""Faults inside a command that the forge starts, by name; applied in the child before `main`."""

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
    """Let the wall clock jump ten years ahead and twenty back, again and again."""
    clock, number = time.time, itertools.count()

    def jumping() -> float:
        return clock() + (-1) ** next(number) * 3.15e8

    time.time = jumping
    time.time_ns = lambda: int(jumping() * 1e9)


def not_a_number() -> None:
    """Let every evaluation end with an accuracy that is not a number."""
    from repro.pipeline import stage_functions

    stage_functions._evaluate = lambda *arguments: {"toy-bm4": {"acc": math.nan}}


def error_with_the_token() -> None:
    """Let a library put the access token into its error, as some HTTP clients do."""
    from repro.pipeline import stage_functions

    def refuse(*arguments: Any) -> dict[str, Any]:
        raise RuntimeError(f"401 for https://user:{os.environ['HF_TOKEN']}@host.example/model")

    stage_functions._evaluate = refuse


def internal_error() -> None:
    """Raise an unforeseen error of ours, with the access token in it."""
    from repro.workflow import study

    def fail(*arguments: Any) -> None:
        raise RuntimeError(f"no table for {os.environ['HF_TOKEN']}")

    study.code_version = fail


def before(target: str, act: Callable[[], None]) -> None:
    """Do something, once, right before the function `target` (`module:name`) is first called."""
    module, _, name = target.partition(":")
    owner: Any = importlib.import_module(module)
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, done = getattr(owner, name), []

    @functools.wraps(original)
    def replacement(*arguments: Any, **keywords: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return original(*arguments, **keywords)

    setattr(owner, name, replacement)


def the_disk_fills_up() -> None:
    """Fill the disk of REPRO_FAULT_FILE to the last byte, by that file, when the function REPRO_FAULT_AT is called."""
    before(os.environ["REPRO_FAULT_AT"], lambda: fill(Path(os.environ["REPRO_FAULT_FILE"])))


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    for size in (1 << 16, 1):
        with contextlib.suppress(OSError), file.open("ab", buffering=0) as stream:
            while True:
                stream.write(bytes(size))


def a_byte_flips() -> None:
    """Flip a bit of the teacher's completions while a study runs, after the driver has checked what is cached."""

    def flip() -> None:
        file = next(Path(os.environ["REPRO_FAULT_CACHE"]).glob("sample-*/rollouts.parquet"))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 16
        file.write_bytes(content)

    before("repro.pipeline.run_stage:verify_input", flip)


def soak() -> None:
    """Repeat the command line in this process; write memory, handles and threads after each run, as JSON lines."""
    from repro.cli import entry_point as cli

    main, argv = cli.main, list(sys.argv)
    figures = Path(os.environ["REPRO_SOAK_FIGURES"])

    def again() -> None:
        process = psutil.Process()
        codes = []
        for number in range(int(os.environ["REPRO_SOAK_STUDIES"])):
            sys.argv = [argument.replace("{n}", str(number)) for argument in argv]
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
