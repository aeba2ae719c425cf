"""Submission of stages through exca and submitit, which no other module uses: in this process, in subprocesses, on Slurm.

exca keeps its own bookkeeping (a pickled job per task) under `.exca`, one folder per driver; it is never read as a
result. The result is the artifact folder with its record.
"""

import contextlib
import logging
import os
import platform
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import exca
import psutil
import pydantic
import submitit.slurm.slurm

import repro
from repro.pipeline.cluster import Backend, Execution, cancel, submitted_jobs
from repro.pipeline.gpu_pool import GpuNames, with_gpus
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.stages import Stage, stage_adapter
from repro.system.redaction import redact

_YEAR_MIN = 60 * 24 * 365
logging.getLogger("exca").setLevel(logging.ERROR)  # the display reports what runs


class StageTask(pydantic.BaseModel):
    """The task that exca runs; exca identifies it only by the stage's fingerprint."""

    fingerprint: str
    stage: dict[str, Any]
    cache: str
    resources: dict[str, Any]
    driver: int | None
    argv: list[str]
    infra: exca.TaskInfra = exca.TaskInfra(version="1")

    @infra.apply(exclude_from_cache_uid=("stage", "cache", "resources", "driver", "argv"))
    def run(self) -> dict[str, Any]:
        """Build the artifact in this process."""
        stage = stage_adapter.validate_python(self.stage)
        if os.environ.get("SUBMITIT_EXECUTOR") in ("slurm", "local"):
            # Out of time or cancelled: exit at once, as after a kill; submitit would raise inside whatever library runs,
            # or ignore the signal
            for number in (signal.SIGUSR2, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
        return run_stage(stage, Path(self.cache), Resources(**self.resources), driver=self.driver, argv=self.argv)


@dataclass
class Running:
    """A submitted stage."""

    stage: Stage
    job: Any
    started: float
    gpus: GpuNames = ()


def submit(batch: Sequence[tuple[Stage, GpuNames]], cache: Path, folder: Path, execution: Execution) -> list[Running]:
    """Start stages whose inputs are complete, each on its GPUs: on Slurm as one job array."""
    infra = _infra(folder / uuid.uuid4().hex, execution)
    tasks = [_task(stage, gpus, cache, infra, execution) for stage, gpus in batch]
    started = time.monotonic()
    if execution.backend == "none":  # these run now, in this process
        jobs = [task.infra.job() for task in tasks]
    else:
        with _stage_environment():
            if execution.backend == "slurm":
                with tasks[0].infra.job_array(max_workers=execution.workers) as array:
                    array.extend(tasks)
            jobs = [task.infra.job() for task in tasks]
    return [Running(stage, job, started, gpus) for (stage, gpus), job in zip(batch, jobs)]


def _infra(folder: Path, execution: Execution) -> dict[str, Any]:
    if execution.backend == "none":
        return {"cluster": None}
    infra = {"cluster": execution.backend, "folder": folder, "logs": folder / "logs", "mode": "force"}
    if execution.backend == "slurm":
        return infra | execution.cluster.infra()
    return infra | {"timeout_min": _YEAR_MIN, "gpus_per_node": 0}  # the stage itself selects its GPUs


def _task(stage: Stage, gpus: GpuNames, cache: Path, infra: dict[str, Any], execution: Execution) -> StageTask:
    return StageTask(
        fingerprint=stage.fingerprint,
        stage=stage.model_dump(mode="json"),
        cache=str(cache),
        resources=asdict(with_gpus(stage, execution.resources, gpus)),
        driver=os.getpid() if execution.backend == "local" else None,
        argv=redact([Path(sys.argv[0]).name, *sys.argv[1:]]),
        infra=infra,
    )


@contextlib.contextmanager
def block_signals(*signals: signal.Signals) -> Iterator[None]:
    """Hold these signals back until the end; processes started inside never receive them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _stage_environment() -> Iterator[None]:
    """Set the environment of stage processes: SIGINT blocked, this checkout first on the path.

    The driver ends them on Ctrl-C, without tracebacks. The working directory is not on their path: a folder named `vllm`
    in it would break TRL's import.
    """
    paths = [str(Path(repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    before = {name: os.environ.get(name) for name in variables}
    with block_signals(signal.SIGINT):
        os.environ |= variables
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


class _NoAccounting(submitit.slurm.slurm.SlurmInfoWatcher):
    """Job states without Slurm's accounting: `cluster.SlurmQueue` knows what runs."""

    def _make_command(self) -> None:
        return None


@contextlib.contextmanager
def accounting_off(backend: Backend) -> Iterator[None]:
    """Keep submitit from calling `sacct` while Slurm jobs are followed.

    Its code for job arrays names SlurmJob itself, so a subclass of the executor would not be used.
    """
    if backend != "slurm":
        yield
        return
    before = submitit.SlurmJob.watcher
    submitit.SlurmJob.watcher = _NoAccounting(delay_s=3600)
    try:
        yield
    finally:
        submitit.SlurmJob.watcher = before


def stop_running(folder: Path, execution: Execution) -> None:
    """End what still runs, children included. Finished artifacts and checkpoints stay.

    Processes are recognised by exca's folder (on their command lines, or the Slurm jobs noted in it), so that one
    submitted at the moment of the interrupt is found, too.
    """
    if execution.backend == "slurm":
        cancel(submitted_jobs(folder))
    processes: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(argument.startswith(f"{folder}/") for argument in child.cmdline()):
                processes += [*child.children(recursive=True), child]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def driver_folder(cache: Path) -> Iterator[Path]:
    """Yield exca's folder for this driver; clean up after dead drivers of this machine, their Slurm jobs included."""
    base = cache / ".exca"
    base.mkdir(parents=True, exist_ok=True)
    for left in base.iterdir():
        host, _, pid = left.name.rpartition("-")
        if host == platform.node() and pid.isdigit() and not psutil.pid_exists(int(pid)):
            cancel(submitted_jobs(left))
            shutil.rmtree(left, ignore_errors=True)
    folder = base / f"{platform.node()}-{os.getpid()}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
