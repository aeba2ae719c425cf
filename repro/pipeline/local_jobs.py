"""Run stages on this machine, each in its own process: forked from a preloaded server, or a fresh interpreter."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

import repro
from repro.errors import StageError
from repro.pipeline.run_stage import stage_variables
from repro.pipeline.stage_process import ORDER, OUTCOME, OUTPUT
from repro.planner.resources import Resources
from repro.stages import Stage
from repro.system.atomic_write import write_json
from repro.system.child_processes import block_signals, descendants, end_processes
from repro.system.fork_server import CAN_FORK, NO_THREADS, ForkServer, ForkServerError

log = logging.getLogger(__name__)


class _Process(Protocol):
    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Return the exit code, or None while the process is running."""


class LocalJob:
    """A stage running as a process on this machine, and its files."""

    def __init__(self, folder: Path, process: _Process) -> None:
        self._folder = folder
        self._process = process
        self.job_id = str(process.pid)

    def has_ended(self) -> bool:
        """Return True once the process has exited: only then are its GPUs free.

        Raises:
            StageError: the server that it was forked from has ended, and the stage with it.
        """
        try:
            return self._process.poll() is not None
        except ForkServerError as error:
            raise _server_error(error) from None

    def outcome(self) -> dict[str, Any] | None:
        """Return the stage's outcome (see `run_stage`), or None if it left none."""
        file = self._folder / OUTCOME
        return json.loads(file.read_text()) if file.exists() else None

    def output(self) -> str:
        """Return what the stage printed."""
        file = self._folder / OUTPUT
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


class LocalJobs:
    """Starts and stops the stages of a run.

    Stages that use a GPU or vLLM get a fresh process, as do all stages where forking is not safe. The server imports
    libraries in the background.

    Args:
        folder: for the jobs' files; it appears on every process's command line, so that all of them can be found.
        has_gpus: True if stages that can use a GPU get one.
    """

    def __init__(self, folder: Path, *, has_gpus: bool) -> None:
        self._folder = folder
        self._has_gpus = has_gpus
        self._server: ForkServer | None = None

    def prepare(self, resources: Resources, waiting: Sequence[Stage]) -> None:
        """Start the server if any of these stages will need it."""
        if CAN_FORK and any(self._can_fork(stage) for stage in waiting):
            env = {**os.environ, **stage_environment(), **stage_variables(resources), **NO_THREADS}
            with block_signals(signal.SIGINT):
                self._server = ForkServer(
                    _command(self._folder, "--serve"), env | {"CUDA_VISIBLE_DEVICES": ""}, self._folder / "server.log"
                )

    def _can_fork(self, stage: Stage) -> bool:
        uses_gpu = self._has_gpus and stage.workload.uses_gpu
        return not uses_gpu and stage.workload.engine != "vllm"

    def start(self, stage: Stage, order: dict[str, Any]) -> LocalJob:
        """Start a stage.

        Raises:
            StageError: the server started but has ended.
        """
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        write_json(folder / ORDER, order)
        if self._server is not None and self._can_fork(stage):
            try:
                self._server.wait_until_ready()
            except ForkServerError as error:
                log.warning("each stage starts a new Python process, which takes some seconds more: %s", error)
                self._server.close()
                self._server = None
            else:
                return self._fork(folder)
        with block_signals(signal.SIGINT), (folder / OUTPUT).open("wb") as output:
            process = subprocess.Popen(
                _command(folder), env=os.environ | stage_environment(), stdout=output, stderr=output
            )
        return LocalJob(folder, process)

    def _fork(self, folder: Path) -> LocalJob:
        assert self._server is not None
        try:
            return LocalJob(folder, self._server.start(folder / OUTPUT, {"folder": str(folder)}))
        except ForkServerError as error:
            raise _server_error(error) from None

    def stop(self) -> None:
        """Kill everything still running, including children and anything started while an interrupt arrived."""
        if self._server is not None:
            self._server.close()
        processes: list[psutil.Process] = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if any(argument.startswith(str(self._folder)) for argument in child.cmdline()):
                    processes += [*descendants(child), child]
        end_processes(processes)


def _server_error(error: ForkServerError) -> StageError:
    return StageError(f"{error}; the running stages ended with it. The same command resumes.")


def stage_environment() -> dict[str, str]:
    """Return the environment of stage processes, with this checkout first on the path.

    The working directory is not on the path: a folder named `vllm` there would break TRL's imports.
    """
    paths = [str(Path(repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "repro.pipeline.stage_process", str(folder), *arguments]
