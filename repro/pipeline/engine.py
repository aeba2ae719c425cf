"""The only file that knows the execution engine: exca runs stages here, in subprocesses, or on Slurm through submitit.

exca keeps its own bookkeeping (a pickled job per task) under `.exca`, one folder per driver: it is never read as a
result. What counts is the artifact folder with its record.
"""

import contextlib
import logging
import os
import platform
import shutil
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import exca
import filelock
import psutil
import pydantic
import submitit.slurm.slurm

import repro
from repro.errors import InputError, StageError
from repro.pipeline.cluster import Backend, Cluster, SlurmQueue, cancel, submitted_jobs
from repro.pipeline.error_advice import root_cause
from repro.pipeline.gpu_pool import GpuPool, with_gpus
from repro.pipeline.progress_file import progress_path, read_progress
from repro.pipeline.record import find_damage
from repro.pipeline.run_stage import artifact_lock, run_stage
from repro.planner.resources import Resources
from repro.stages import Stage, stage_adapter
from repro.stages.artifact import is_complete
from repro.system.redaction import redact

_YEAR_MIN = 60 * 24 * 365
MAX_LOSSES = 3
"""Times that Slurm may lose a stage (killed, preempted, node down, out of time) without any progress in between."""
logging.getLogger("exca").setLevel(logging.ERROR)  # the display tells what runs


class _NoAccounting(submitit.slurm.slurm.SlurmInfoWatcher):
    """Asks Slurm's accounting nothing: `cluster.Queue` knows what runs."""

    def _make_command(self) -> None:
        return None


submitit.SlurmJob.watcher = _NoAccounting(delay_s=3600)


class StageTask(pydantic.BaseModel):
    """What exca runs: known to it by the stage's fingerprint alone."""

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
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":  # out of time or cancelled: end here and now, like any kill;
            for number in (signal.SIGUSR2, signal.SIGTERM):  # submitit would raise it inside whatever library runs
                signal.signal(number, signal.SIG_DFL)
        return run_stage(stage, Path(self.cache), Resources(**self.resources), self.driver, self.argv)


@dataclass
class Running:
    """A submitted stage."""

    stage: Stage
    task: StageTask
    job: Any
    since: float
    gpus: tuple[str, ...] = ()


OnTick = Callable[[Sequence[Stage], Sequence[Running], Sequence[Stage]], None]
"""Called about five times a second with the stages that are done, running and waiting."""


@dataclass(frozen=True)
class Engine:
    """How stages are run; none of it is identity."""

    where: Backend
    cluster: Cluster
    workers: int
    resources: Resources
    argv: list[str]


def is_cached(stage: Stage, cache: Path) -> bool:
    """Whether the artifact is there and sound. A damaged one is set aside, with its files kept."""
    folder = cache / stage.folder_name
    if not is_complete(folder):
        return False
    if find_damage(folder) is None:
        return True
    with contextlib.suppress(filelock.Timeout), artifact_lock(cache, stage, timeout=0):  # held: another driver is at it
        if is_complete(folder) and find_damage(folder) is not None:
            folder.rename(cache / f"{stage.folder_name}.damaged-{uuid.uuid4().hex[:8]}")
    return False


def run_stages(stages: Sequence[Stage], cache: Path, *, engine: Engine, watch: OnTick) -> None:
    """Run what is not cached, inputs first, at most `engine.workers` stages at a time.

    Args:
        stages: in topological order (`stages.topological`).

    Raises:
        InputError: a stage met a person's mistake.
        StageError: a stage ended without a result.
    """
    done = [stage for stage in stages if is_cached(stage, cache)]
    have = {stage.fingerprint for stage in done}
    waiting = [stage for stage in stages if stage.fingerprint not in have]
    running: list[Running] = []
    queue, losses, gpus = SlurmQueue(), LostJobs(), GpuPool(engine.resources, apart=engine.where == "slurm")
    with _driver_folder(cache) as folder:
        try:
            while waiting or running:
                ready = [s for s in waiting if all(n.fingerprint in have for n in s.inputs())]
                level = gpus.lend(ready, engine.workers - len(running))
                if level:
                    watch(done, running, waiting)
                    waiting = [stage for stage in waiting if stage not in [started for started, _ in level]]
                    running += _submit(level, cache, folder, engine)
                watch(done, running, waiting)
                time.sleep(0 if engine.where == "none" else 0.2)
                gone = queue.gone(r.job.job_id for r in running) if engine.where == "slurm" else set()
                for one in [r for r in running if _ended(r, engine, gone)]:
                    running.remove(one)
                    gpus.give_back(one.gpus)
                    if engine.where == "slurm" and losses.again(one, cache):
                        waiting.insert(0, one.stage)
                        continue
                    _settle(one, cache)
                    have.add(one.stage.fingerprint)
                    done.append(one.stage)
            watch(done, running, waiting)
        finally:
            with _blocked(signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C waits until nothing is left running
                _stop(folder, engine)


def _submit(level: Sequence[tuple[Stage, tuple[str, ...]]], cache: Path, folder: Path, engine: Engine) -> list[Running]:
    """Start stages that wait for nothing, each on its GPUs: on Slurm as one job array."""
    batch = folder / uuid.uuid4().hex
    tasks = [_task(stage, cache, batch, engine, own) for stage, own in level]
    if engine.where != "none":
        with _inherited_by_stages():
            if engine.where == "slurm":
                with tasks[0].infra.job_array(max_workers=engine.workers) as array:
                    array.extend(tasks)
            return [
                Running(stage, task, task.infra.job(), time.monotonic(), own)
                for (stage, own), task in zip(level, tasks)
            ]
    started = time.monotonic()  # these run here and now
    return [Running(stage, task, task.infra.job(), started, own) for (stage, own), task in zip(level, tasks)]


def _task(stage: Stage, cache: Path, batch: Path, engine: Engine, gpus: tuple[str, ...]) -> StageTask:
    infra: dict[str, Any] = {"cluster": None}
    if engine.where != "none":
        infra = {"cluster": engine.where, "folder": batch, "logs": batch / "logs", "mode": "force"}
    if engine.where == "local":
        infra |= {"timeout_min": _YEAR_MIN, "gpus_per_node": 0}  # the stage itself sees to which it uses
    if engine.where == "slurm":
        infra |= engine.cluster.infra()
    return StageTask(
        fingerprint=stage.fingerprint,
        stage=stage.model_dump(mode="json"),
        cache=str(cache),
        resources=asdict(with_gpus(stage, engine.resources, gpus)),
        driver=os.getpid() if engine.where == "local" else None,
        argv=engine.argv,
        infra=infra,
    )


@contextlib.contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    """These signals wait until the end, and never reach a process that is started inside."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _inherited_by_stages() -> Iterator[None]:
    """What a stage's process starts with: no ear for a terminal's Ctrl-C (the driver ends it, without tracebacks), this
    very library, and nothing from the folder where a person stands (one named `vllm` breaks TRL's import)."""
    paths = [str(Path(repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    old = {name: os.environ.get(name) for name in ours}
    with _blocked(signal.SIGINT):
        os.environ |= ours
        try:
            yield
        finally:
            for name, value in old.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _ended(one: Running, engine: Engine, gone: set[str]) -> bool:
    if engine.where == "slurm":
        return one.job.job_id in gone or one.job.paths.result_pickle.exists()
    return bool(one.job.done())


class LostJobs:
    """Which stages Slurm has lost, and how far they were."""

    def __init__(self) -> None:
        self._lost: dict[str, tuple[int, int]] = {}

    def again(self, one: Running, cache: Path) -> bool:
        """Whether to submit this one again: its job was lost, and has not been lost too often at the same point."""
        if one.job.paths.result_pickle.exists() or is_complete(cache / one.stage.folder_name):
            return False  # it ended, with a result or an error, or was lost when it had ended
        reached = int((read_progress(progress_path(cache, one.stage)) or {"done": 0})["done"])
        count, before = self._lost.get(one.stage.fingerprint, (0, -1))
        count = 1 if reached > before else count + 1
        self._lost[one.stage.fingerprint] = (count, max(reached, before))
        return count < MAX_LOSSES


def _settle(one: Running, cache: Path) -> None:
    """Turn a finished job into nothing (good) or an exception."""
    logs = cache / ".logs"
    log = logs / f"{one.stage.folder_name}.log"
    with contextlib.suppress(OSError):
        logs.mkdir(exist_ok=True)
        log.write_text(redact(_output(one)))
    if hasattr(one.job, "paths") and not one.job.paths.result_pickle.exists():
        if is_complete(cache / one.stage.folder_name):
            return
        if shutil.disk_usage(cache).free < 1 << 20:
            raise InputError(
                f"{one.stage.label}: no space left on device at {cache}. Free some; the same command resumes."
            )
        raise StageError(f"{one.stage.label}: its process was killed. Log: {log}. The same command resumes.")
    error = one.job.exception()
    if error is not None:
        cause = redact(root_cause(error))
        raise StageError(f"{one.stage.label}: {cause}. Log: {log}. The same command resumes.")
    outcome = one.job.result()
    if "input_error" in outcome:
        raise InputError(redact(outcome["input_error"]))
    if "stage_error" in outcome:
        cause = redact(outcome["stage_error"])
        raise StageError(f"{one.stage.label}: {cause}. Log: {log}. The same command resumes.")
    if not is_complete(cache / one.stage.folder_name):
        raise StageError(f"{one.stage.label}: ended without a record. Log: {log}.")


def _output(one: Running) -> str:
    """What the stage printed; where it ran in this process, the traceback that it ended with."""
    if not hasattr(one.job, "paths"):
        error = one.job.exception()
        return "".join(traceback.format_exception(error)) if error is not None else ""
    files = (one.job.paths.stdout, one.job.paths.stderr)
    return "".join(file.read_text(errors="replace") for file in files if file.exists())


def _stop(folder: Path, engine: Engine) -> None:
    """End what still runs, children included. Finished artifacts and checkpoints stay.

    Found by exca's folder (on their command lines, or the Slurm jobs noted in it), so that one submitted in the very
    moment of the interrupt is, too.
    """
    if engine.where == "slurm":
        cancel(submitted_jobs(folder))
    doomed: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(word.startswith(f"{folder}/") for word in child.cmdline()):
                doomed += [*child.children(recursive=True), child]
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(doomed, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def _driver_folder(cache: Path) -> Iterator[Path]:
    """exca's folder for this driver. Drivers of this machine that died are cleaned up after, their Slurm jobs ended."""
    base = cache / ".exca"
    base.mkdir(parents=True, exist_ok=True)
    for old in base.iterdir():
        host, _, pid = old.name.rpartition("-")
        if host == platform.node() and pid.isdigit() and not psutil.pid_exists(int(pid)):
            cancel(submitted_jobs(old))
            shutil.rmtree(old, ignore_errors=True)
    folder = base / f"{platform.node()}-{os.getpid()}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
