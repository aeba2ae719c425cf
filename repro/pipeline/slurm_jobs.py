"""Run stages as Slurm jobs through exca and submitit, which no other module uses.

exca keeps its bookkeeping (one pickled job per task) in the driver's folder; results are never read from there. The
result is the artifact folder with its record.
"""

import contextlib
import io
import logging
import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import exca
import pydantic
import submitit.helpers
import submitit.slurm.slurm
from submitit.core.utils import FailedJobError, FailedSubmissionError

from repro.pipeline.cluster import Cluster
from repro.pipeline.error_advice import root_cause
from repro.pipeline.local_jobs import stage_environment
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.stages import stage_adapter
from repro.system.atomic_write import look_again
from repro.system.child_processes import block_signals

logging.getLogger("exca").setLevel(logging.ERROR)  # the display reports what runs


class StageTask(pydantic.BaseModel):
    """The task that exca runs, identified only by the stage's fingerprint."""

    fingerprint: str
    stage: dict[str, Any]
    cache: str
    resources: dict[str, Any]
    argv: list[str]
    infra: exca.TaskInfra = exca.TaskInfra(version="1")

    @infra.apply(exclude_from_cache_uid=("stage", "cache", "resources", "argv"))
    def run(self) -> dict[str, Any]:
        """Build the artifact in this process."""
        stage = stage_adapter.validate_python(self.stage)
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            # Out of time or cancelled: exit at once, as after a kill; submitit would raise inside whatever library runs,
            # or ignore the signal
            for number in (signal.SIGUSR2, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
        return run_stage(stage, Path(self.cache), Resources(**self.resources), argv=self.argv)


class SubmissionError(RuntimeError):
    """Slurm accepted none of the jobs; the message is Slurm's."""


class SlurmJob:
    """A stage running as a Slurm job; `cluster.SlurmQueue` knows whether it is still running."""

    def __init__(self, job: Any) -> None:
        self._job = job
        self.job_id = str(job.job_id)

    def has_ended(self) -> bool:
        """Return True if the job left an outcome; a killed one leaves none."""
        return bool(self._job.paths.result_pickle.exists())

    def outcome(self) -> dict[str, Any] | None:
        """Return the stage's outcome (see `run_stage`), or None if it left none."""
        look_again(Path(self._job.paths.result_pickle).parent)
        if not self.has_ended():
            return None
        error = self._job.exception()
        return dict(self._job.result()) if error is None else {"stage_error": root_cause(error)}

    def output(self) -> str:
        """Return what the stage printed."""
        files = (self._job.paths.stdout, self._job.paths.stderr)
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.exists())


def submit_array(
    orders: Sequence[tuple[str, dict[str, Any]]], folder: Path, cluster: Cluster, workers: int
) -> list[SlurmJob]:
    """Submit stages (fingerprint, order) as one job array, at most `workers` running at a time.

    Raises:
        SubmissionError: Slurm did not accept them.
    """
    batch = folder / uuid.uuid4().hex
    infra = {"cluster": "slurm", "folder": batch, "logs": batch / "logs", "mode": "force"} | cluster.infra()
    tasks = [StageTask(fingerprint=fingerprint, **order, infra=infra) for fingerprint, order in orders]
    with _environment(stage_environment()), _slurm_found(), block_signals(signal.SIGINT, signal.SIGTERM):
        try:
            # submitit prints sbatch's output, which is already the error's message
            with contextlib.redirect_stderr(io.StringIO()), tasks[0].infra.job_array(max_workers=workers) as array:
                array.extend(tasks)
        except (FailedJobError, FailedSubmissionError) as error:
            raise SubmissionError(" ".join(str(error).split())) from None
        return [SlurmJob(task.infra.job()) for task in tasks]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _slurm_found() -> Iterator[None]:
    """Keep sbatch's variables that locate Slurm: submitit strips them with those of an enclosing job."""
    clean, kept = (
        submitit.helpers.clean_env,
        {n: os.environ[n] for n in ("SLURM_CONF", "SLURM_CLUSTERS") if n in os.environ},
    )

    @contextlib.contextmanager
    def clean_the_others() -> Iterator[None]:
        with clean(), _environment(kept):
            yield

    submitit.helpers.clean_env = clean_the_others
    try:
        yield
    finally:
        submitit.helpers.clean_env = clean


class _NoAccounting(submitit.slurm.slurm.SlurmInfoWatcher):
    """Job states without Slurm's accounting: `cluster.SlurmQueue` knows what is running."""

    def _make_command(self) -> None:
        return None


@contextlib.contextmanager
def accounting_off() -> Iterator[None]:
    """Keep submitit from calling `sacct` while Slurm jobs are being watched.

    Its job-array code refers to SlurmJob directly, so subclassing the executor would have no effect.
    """
    before = submitit.SlurmJob.watcher
    submitit.SlurmJob.watcher = _NoAccounting(delay_s=3600)
    try:
        yield
    finally:
        submitit.SlurmJob.watcher = before
