"""Submit stages: in this process, in local processes (`local_jobs.py`), or on Slurm (`slurm_jobs.py`)."""

import contextlib
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from repro.errors import StageError
from repro.pipeline.cluster import Execution, cancel, submitted_jobs
from repro.pipeline.gpu_pool import GpuNames, with_gpus
from repro.pipeline.local_jobs import LocalJobs
from repro.pipeline.progress_file import progress_path
from repro.pipeline.stage_process import run_order
from repro.stages import Stage
from repro.stages.artifact import is_complete
from repro.system.gpus import visible_gpus
from repro.system.redaction import redact

SUBMIT_AGAIN_S = 60.0
"""Seconds between retries when Slurm refuses jobs after having accepted others."""
SUBMIT_FOR_S = 12 * 3600.0
"""Seconds to keep retrying: job limits clear when jobs finish, and a controller comes back after maintenance."""
log = logging.getLogger(__name__)


class Job(Protocol):
    """A submitted stage, regardless of where it runs."""

    job_id: str

    def has_ended(self) -> bool:
        """Return True if the job is no longer running."""

    def outcome(self) -> dict[str, Any] | None:
        """Return the stage's outcome (see `run_stage`), or None if it left none."""

    def output(self) -> str:
        """Return what the stage printed."""


class FinishedJob:
    """A stage that ran in this process."""

    job_id = ""

    def __init__(self, outcome: dict[str, Any], output: str) -> None:
        self._outcome = outcome
        self._output = output

    def has_ended(self) -> bool:
        """Always True."""
        return True

    def outcome(self) -> dict[str, Any]:
        """Return what `run_stage` returned, or the error that it raised."""
        return self._outcome

    def output(self) -> str:
        """Return the traceback it ended with."""
        return self._output


@dataclass
class Running:
    """A submitted stage."""

    stage: Stage
    job: Job
    started: float
    gpus: GpuNames = ()


class Submission:
    """Starts the stages of one run.

    Args:
        folder: this driver's folder (`driver_folder`).
    """

    def __init__(self, cache: Path, folder: Path, execution: Execution) -> None:
        self._cache = cache
        self._folder = folder
        self._execution = execution
        self._slurm_accepts = False
        is_local = execution.backend == "local"
        self._local = LocalJobs(folder, has_gpus=bool(visible_gpus())) if is_local else None

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Preload the stages' imports in another process, before the first uncached stage is submitted."""
        if self._local is not None:
            waiting = [stage for stage in stages if not is_complete(self._cache / stage.folder_name)]
            self._local.prepare(self._execution.resources, waiting)

    def submit(self, batch: Sequence[tuple[Stage, GpuNames]]) -> list[Running]:
        """Start stages whose inputs are complete, each on its GPUs; on Slurm, as one job array.

        Progress files left by a killed run are removed, since they would be shown as current.
        """
        for stage, _ in batch:
            progress_path(self._cache, stage).unlink(missing_ok=True)
        started = time.monotonic()
        return [Running(stage, job, started, gpus) for (stage, gpus), job in zip(batch, self._start(batch))]

    def _start(self, batch: Sequence[tuple[Stage, GpuNames]]) -> Sequence[Job]:
        if self._execution.backend == "slurm":
            return self._start_on_slurm([(stage.fingerprint, self._order(stage, gpus)) for stage, gpus in batch])
        if self._local is not None:
            driver = {"driver": os.getpid()}
            return [self._local.start(stage, self._order(stage, gpus) | driver) for stage, gpus in batch]
        return [FinishedJob(*run_order(self._order(stage, gpus) | {"driver": None})) for stage, gpus in batch]

    def _start_on_slurm(self, orders: Sequence[tuple[str, dict[str, Any]]]) -> Sequence[Job]:
        """Submit jobs; if Slurm refuses them but has accepted others, retry until it accepts.

        Raises:
            StageError: Slurm refuses the first jobs, or refuses these for half a day.
        """
        from repro.pipeline.slurm_jobs import SubmissionError, submit_array

        jobs_named = f"{len(orders)} job{'s' if len(orders) > 1 else ''}"
        last_message, last_attempt = "", time.monotonic() + SUBMIT_FOR_S
        while True:
            try:
                jobs = submit_array(orders, self._folder, self._execution.cluster, self._execution.workers)
            except SubmissionError as error:
                message = redact(str(error))
            else:
                self._slurm_accepts = True
                return jobs
            if not self._slurm_accepts or time.monotonic() > last_attempt:
                raise StageError(
                    f"Slurm does not accept {jobs_named}: {message}. Change their request (--cluster-option), or"
                    " --workers if they are too many at once; the same command resumes."
                )
            if message != last_message:
                log.warning("Slurm does not accept %s: %s. Trying again every minute.", jobs_named, message)
                last_message = message
            time.sleep(SUBMIT_AGAIN_S)

    def _order(self, stage: Stage, gpus: GpuNames) -> dict[str, Any]:
        return {
            "stage": stage.model_dump(mode="json"),
            "cache": str(self._cache),
            "resources": asdict(with_gpus(stage, self._execution.resources_of(stage), gpus)),
            "argv": redact([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }

    def stop(self) -> None:
        """Kill everything still running, including children. Finished artifacts and checkpoints are kept."""
        if self._execution.backend == "slurm":
            cancel(submitted_jobs(self._folder))
        if self._local is not None:
            self._local.stop()


@contextlib.contextmanager
def accounting_off(execution: Execution) -> Iterator[None]:
    """Keep submitit from querying Slurm's accounting while its jobs are being watched."""
    if execution.backend != "slurm":
        yield
        return
    from repro.pipeline import slurm_jobs

    with slurm_jobs.accounting_off():
        yield


@contextlib.contextmanager
def driver_folder(cache: Path) -> Iterator[Path]:
    """Yield this driver's job folder; clean up after dead drivers on this machine, including their Slurm jobs."""
    base = cache / ".jobs"
    base.mkdir(parents=True, exist_ok=True)
    for left in base.iterdir():
        host, _, pid = left.name.rpartition("-")
        if host == platform.node() and pid.isdigit() and not psutil.pid_exists(int(pid)):
            cancel(submitted_jobs(left))
            shutil.rmtree(left, ignore_errors=True)
    folder = base / f"{platform.node()}-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
