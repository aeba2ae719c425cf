"""Shared parts of the fault injection tests: a tiny study, and a quick way to start the command.

Numbers of repetitions: REPRO_FAULTS_KILLS (100), REPRO_FAULTS_INPUTS (300), REPRO_FAULTS_SOAK (50).
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from repro.system.fork_server import NO_THREADS, Forked, ForkServer

NAME = ("--name", "table2-toy")
HERE = Path(__file__).parent / "faults"
SETTINGS = [
    *("calibration.steps=2", "calibration.prompts_per_step=2", "calibration.group_size=2"),
    *(f"{m}.{s}" for m in ("sft", "gkd_fkl", "gkd_rkl") for s in ("steps=2", "sequences_per_step=4")),
    *("train_items=4", "test_items=2", "controls=false", "tasks=toy-bm4"),
    *("evaluation.completions_per_prompt=2", "teacher_sampling.completions_per_prompt=2"),
]
MOMENTS = {
    "sampling": "repro.generation.sample:rollout_table",
    "grading": "repro.evaluation.evaluate:write_graded",
    "a checkpoint": "transformers:Trainer._save_checkpoint",
    "the adapter": "repro.calibration.merge:save_merged",
    "training's history": "repro.training.history:write_history",
    "a record": "repro.pipeline.record:file_hashes",
    "the result": "repro.workflow.study:write_json",
    "the page": "repro.report.write:html",
}
"""Moment at which the disk fills up -> the function that is about to be called (`test_fault_moments.py`)."""


def count(name: str, default: int) -> int:
    """Return a number of repetitions: REPRO_FAULTS_<NAME>, else the default."""
    return int(os.environ.get(f"REPRO_FAULTS_{name}", default))


def study_arguments(out: Path, *more: str, backend: str = "none") -> list[str]:
    """Return the command line of the tiny study: all kinds of stages, two optimiser steps each."""
    sets = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return [
        "run",
        "table2",
        "--scale",
        "toy",
        "--out",
        str(out),
        "--workers",
        "1",
        "--cluster",
        backend,
        *NAME,
        *sets,
        *more,
    ]


def measured(out: Path) -> list[dict]:
    """Return the numbers of the study."""
    return json.loads((out / "table2-toy" / "results.json").read_text())["measured"]


def check_artifacts(out: Path) -> int:
    """Check that every artifact is complete, byte for byte, and a result readable; return the number of artifacts."""
    from repro.pipeline.record import find_damage
    from repro.stages.artifact import is_complete

    artifacts = 0
    for folder in (out / "cache").glob("[a-z]*-*"):
        assert is_complete(folder), f"{folder.name} has no record"
        assert find_damage(folder) is None, f"{folder.name}: {find_damage(folder)}"
        artifacts += 1
    result = out / "table2-toy" / "results.json"
    if result.exists():
        json.loads(result.read_text())
    return artifacts


@dataclass
class Started:
    """A running command."""

    process: Forked
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def code(self) -> int | None:
        return self.process.exit_code

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, timeout: float = 3000) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"still running after {timeout} s:\n{self.text()}"
            time.sleep(0.01)
        return code

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def kill_all(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = [*psutil.Process(self.pid).children(recursive=True), psutil.Process(self.pid)]
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)


class Forge:
    """A process that starts `repro` many times without its imports (forge.py)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self.server = ForkServer(
            [sys.executable, str(HERE / "forge.py")], {**os.environ, **NO_THREADS}, folder / "forge.log"
        )

    def start(
        self, arguments: list[str], env: dict[str, str] | None = None, cwd: Path | None = None, patch: str | None = None
    ) -> Started:
        self.number += 1
        output = self.folder / f"output-{self.number}.txt"
        output.touch()
        order = {"arguments": [str(argument) for argument in arguments], "env": env or {}, "patch": patch}
        return Started(self.server.start(output, order | {"cwd": str(cwd) if cwd else None}), output)

    def run(
        self, arguments: list[str], env: dict[str, str] | None = None, cwd: Path | None = None, patch: str | None = None
    ) -> tuple[int, str]:
        started = self.start(arguments, env, cwd, patch)
        return started.wait(), started.text()
