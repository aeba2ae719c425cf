"""The only file that knows the execution engine: exca submits stages to subprocesses (or a cluster) through submitit.

exca keeps its own bookkeeping (a pickled job per task) under `.exca`, one folder per driver: it is never read as a
result. What counts is the artifact folder with its record.
"""

import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import exca
import psutil
import pydantic

import repro
from repro.errors import InputError, StageError
from repro.pipeline.job import Resources, cause_of, run_stage
from repro.pipeline.record import damage, is_complete
from repro.pipeline.stages import Stage, stage_adapter

_YEAR_MIN = 60 * 24 * 365
logging.getLogger("exca").setLevel(logging.ERROR)  # the display tells what runs


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
        return run_stage(stage, Path(self.cache), Resources(**self.resources), self.driver, self.argv)


@dataclass
class Running:
    """A submitted stage."""

    stage: Stage
    task: StageTask
    job: Any
    since: float


Watcher = Callable[[Sequence[Stage], Sequence[Running], Sequence[Stage]], None]
"""Called about five times a second with the stages that are done, running and waiting."""


def cached(stage: Stage, cache: Path) -> bool:
    """Whether the artifact is there and sound. A damaged one is set aside, with its files kept."""
    folder = cache / stage.folder_name
    if not is_complete(folder):
        return False
    if damage(folder) is None:
        return True
    folder.rename(cache / f"{stage.folder_name}.damaged-{time.time_ns()}")
    return False


def run_stages(
    stages: Sequence[Stage], cache: Path, *, workers: int, resources: Resources, argv: list[str], watch: Watcher
) -> None:
    """Run what is not cached, inputs first, at most `workers` stages at a time.

    Args:
        stages: in topological order (`stages.topological`).

    Raises:
        InputError: a stage met a person's mistake.
        StageError: a stage ended without a result.
    """
    done = [stage for stage in stages if cached(stage, cache)]
    have = {stage.fingerprint for stage in done}
    waiting = [stage for stage in stages if stage.fingerprint not in have]
    running: list[Running] = []
    with _driver_folder(cache) as folder:
        try:
            while waiting or running:
                for stage in [s for s in waiting if all(n.fingerprint in have for n in s.inputs())]:
                    if len(running) < workers:
                        waiting.remove(stage)
                        running.append(_submit(stage, cache, folder, resources, argv))
                watch(done, running, waiting)
                time.sleep(0.2)
                for one in [r for r in running if r.job.done()]:
                    running.remove(one)
                    _settle(one, cache)
                    have.add(one.stage.fingerprint)
                    done.append(one.stage)
            watch(done, running, waiting)
        finally:
            _stop(folder)


def _submit(stage: Stage, cache: Path, folder: Path, resources: Resources, argv: list[str]) -> Running:
    gpus = len([d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]) or _gpu_count()
    infra: dict[str, Any] = {
        "folder": folder,
        "cluster": "local",
        "timeout_min": _YEAR_MIN,
        "gpus_per_node": gpus,
        "mode": "force",
    }
    task = StageTask(
        fingerprint=stage.fingerprint,
        stage=stage.model_dump(mode="json"),
        cache=str(cache),
        resources=asdict(resources),
        driver=os.getpid(),
        argv=argv,
        infra=infra,
    )
    with _inherited_by_stages():
        return Running(stage, task, task.infra.job(), time.monotonic())


@contextlib.contextmanager
def _inherited_by_stages() -> Iterator[None]:
    """What a stage's process starts with: no ear for a terminal's Ctrl-C (the driver ends it, without tracebacks), this
    very library, and nothing from the folder where a person stands (one named `vllm` breaks TRL's import)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    paths = [str(Path(repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    old = {name: os.environ.get(name) for name in ours}
    os.environ |= ours
    try:
        yield
    finally:
        for name, value in old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gpu_count() -> int:
    return sum(1 for entry in Path("/dev").glob("nvidia[0-9]*")) if Path("/dev").is_dir() else 0


def _settle(one: Running, cache: Path) -> None:
    """Turn a finished job into nothing (good) or an exception."""
    logs = cache / ".logs"
    log = logs / f"{one.stage.folder_name}.log"
    paths = one.job.paths
    with contextlib.suppress(OSError):
        logs.mkdir(exist_ok=True)
        log.write_text("".join(p.read_text(errors="replace") for p in (paths.stdout, paths.stderr) if p.exists()))
    if not paths.result_pickle.exists():
        if shutil.disk_usage(cache).free < 1 << 20:
            raise InputError(
                f"{one.stage.label}: no space left on device at {cache}. Free some; the same command resumes."
            )
        raise StageError(f"{one.stage.label}: its process was killed. Log: {log}. The same command resumes.")
    error = one.job.exception()
    if error is not None:
        raise StageError(f"{one.stage.label}: {cause_of(error)}. Log: {log}. The same command resumes.")
    outcome = one.job.result()
    if "input_error" in outcome:
        raise InputError(outcome["input_error"])
    if "stage_error" in outcome:
        raise StageError(f"{one.stage.label}: {outcome['stage_error']}. Log: {log}. The same command resumes.")
    if not is_complete(cache / one.stage.folder_name):
        raise StageError(f"{one.stage.label}: ended without a record. Log: {log}.")


def _stop(folder: Path) -> None:
    """End what still runs, children included. Finished artifacts and checkpoints stay.

    Found by exca's folder on their command lines, so that one submitted in the very moment of the interrupt is, too.
    """
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
    """exca's folder for this driver. Drivers that died are cleaned up after."""
    base = cache / ".exca"
    base.mkdir(parents=True, exist_ok=True)
    for old in base.iterdir():
        if not psutil.pid_exists(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    folder = base / str(os.getpid())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
