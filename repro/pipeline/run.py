"""Run the stages of a study: preflight checks, then what is not cached, with a display."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from repro.errors import InputError, Interrupted
from repro.pipeline.cluster import Execution
from repro.pipeline.display import Display
from repro.pipeline.engine import Failure, join_errors, run_stages
from repro.pipeline.error_advice import disk_error
from repro.pipeline.file_hashes import unread_bytes
from repro.pipeline.gpu_pool import resolve_layout, visible_cards
from repro.pipeline.preflight import check_inputs
from repro.pipeline.record import find_damage
from repro.pipeline.remaining import PlannedStage, RemainingTime
from repro.planner.cards import H100, machine_gpu
from repro.planner.corrections import corrections_from
from repro.planner.forecast import parallel_speed
from repro.planner.hours import estimate_stage
from repro.planner.schedule import Job
from repro.stages import Stage
from repro.stages.artifact import CACHE, find_warnings, is_complete, which_cached
from repro.system.gpus import visible_gpus
from repro.system.hardware import hardware

MUCH_TO_READ = 4 << 30
"""Bytes to hash above which a run says so: some seconds on a fast disk."""
LEAST_FREE = 64 << 20
"""Free disk space in bytes below which nothing is started: even a toy stage writes a few MiB."""


def run(stages: Sequence[Stage], out: Path, execution: Execution, *, console: Console, quiet: bool) -> None:
    """Run the stages (topological order) into `out/cache`.

    Raises:
        InputError: a user error, or an output folder that cannot be written.
        StageError: a stage ended without a result. Stages that do not depend on it have run.
    """
    if failures := run_what_succeeds(stages, out, execution, console=console, quiet=quiet):
        raise join_errors(failures)


def run_what_succeeds(
    stages: Sequence[Stage], out: Path, execution: Execution, *, console: Console, quiet: bool
) -> tuple[Failure, ...]:
    """Run the stages as `run` does; return the failed ones instead of raising their errors.

    Raises:
        InputError: a user error before the first stage, or an output folder that cannot be written.
        StageError: no stage can be started any more.
    """
    waiting = [stage for stage, is_cached in zip(stages, which_cached(stages, out)) if not is_cached]
    if execution.backend == "none":
        _choose_device(waiting)
    check_inputs(waiting)
    cache = prepare_cache(out)
    if execution.backend == "slurm":
        check_locks(cache)
    remaining = remaining_time(stages, out, execution)
    with _offline_where_local(stages), Display(console, cache, remaining, quiet=quiet) as display:
        try:
            if not quiet:
                report_check(stages, cache, console)
            failures = run_stages(stages, cache, execution=execution, on_tick=display)
        except Interrupted:
            raise Interrupted("finished stages are kept; the same command resumes") from None
        except OSError as error:
            if not disk_error(error):
                raise
            raise InputError(f"output folder {out}: {disk_error(error)}. Fix it; the same command resumes.") from None
    _print_warnings([stage for stage in stages if is_complete(cache / stage.folder_name)], cache, console)
    return failures


def remaining_time(stages: Sequence[Stage], out: Path, execution: Execution) -> RemainingTime:
    """Plan the remaining time of a run: every uncached stage with its expected seconds on the GPUs it will get."""
    on_slurm = execution.backend == "slurm"
    cards = None if on_slurm else visible_cards()
    corrections = corrections_from(out, H100 if on_slurm else machine_gpu(hardware()))
    plan = []
    for stage, is_cached in zip(stages, which_cached(stages, out)):
        if not is_cached:
            on_gpu = stage.workload.uses_gpu and (on_slurm or cards is not None)
            gpus = resolve_layout(stage, execution.resources_of(stage), cards).gpu_count if on_gpu else 0
            seconds = estimate_stage(stage, corrections, on_gpu=on_gpu).seconds / parallel_speed(gpus)
            needs = tuple(needed.fingerprint for needed in stage.inputs())
            plan.append(PlannedStage(Job(stage.fingerprint, seconds, needs, 0 if on_slurm else gpus), stage.procedure))
    workers = 1 if execution.backend == "none" else execution.workers
    return RemainingTime(plan, workers, cards.count if cards else 0)


def _choose_device(waiting: Sequence[Stage]) -> None:
    """Hide the GPUs from this process if its stages compute on the CPU.

    Raises:
        InputError: some stages do and some do not.
    """
    on_cpu = [stage for stage in waiting if stage.workload.runs_model and not stage.workload.uses_gpu]
    if not on_cpu or not visible_gpus():
        return
    if any(stage.workload.uses_gpu for stage in waiting):
        raise InputError(
            f"--cluster none: {on_cpu[0].label} runs on the CPU, as all toy models do, and other stages run on a GPU: one"
            " process cannot do both. Leave out --cluster none, or hide the GPUs (CUDA_VISIBLE_DEVICES=)."
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def prepare_cache(out: Path) -> Path:
    """Create the cache folder below `out` and check that it is writable."""
    cache = out / CACHE
    try:
        str(cache.absolute()).encode()
    except UnicodeEncodeError:
        shown = str(out).encode(errors="replace").decode()
        raise InputError(
            f"output folder {shown}: its name or the locale (LC_ALL) is not UTF-8. Choose another with --out FOLDER."
        ) from None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise InputError(f"output folder {out}: {error.strerror}. Choose another with --out FOLDER.") from None
    free = shutil.disk_usage(cache).free
    if free < LEAST_FREE:
        raise InputError(
            f"output folder {out}: no space left on device ({free / 2**20:.1f} MiB free, at least {LEAST_FREE >> 20} MiB are needed)."
            " Free some space, or choose another folder with --out FOLDER."
        )
    return cache.resolve()


def check_locks(folder: Path) -> None:
    """Refuse a disk without file locks for jobs on several machines: a killed job would leave its lock behind for good.

    Without flock, filelock falls back to treating a file's existence as the lock.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"output folder {folder}: the disk does not support file locks ({error.strerror}), which jobs on several machines need."
                " Mount it with locks (Lustre: the option flock; NFS 3: a lock daemon), or choose another with --out FOLDER."
            ) from None


def report_check(stages: Sequence[Stage], cache: Path, console: Console) -> None:
    """Check existing artifacts, and say so if there is much to read (after a change, or on another machine)."""
    folders = [cache / stage.folder_name for stage in stages if is_complete(cache / stage.folder_name)]
    unread = sum(unread_bytes(folder) for folder in folders)
    if unread < MUCH_TO_READ:
        return
    console.print(f"checking {len(folders)} finished artifacts: {unread / 2**30:.1f} GiB to read", highlight=False)
    started = time.monotonic()
    for folder in folders:
        find_damage(folder)
    console.print(f"checked in {time.monotonic() - started:.0f} s; unchanged files are not read again", highlight=False)


def _print_warnings(stages: Sequence[Stage], cache: Path, console: Console) -> None:
    """Print the warnings in the stages' summaries, with the artifact folders."""
    for stage in stages:
        folder = cache / stage.folder_name
        for subject, message in find_warnings(json.loads((folder / "summary.json").read_text())).items():
            console.print(
                f"warning: {stage.label} (seed {stage.seed}): {subject}: {message}: {folder}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


@contextlib.contextmanager
def _offline_where_local(stages: Sequence[Stage]) -> Iterator[None]:
    """Keep the hub client offline if all models and data are local."""
    local = all(model.is_local for stage in stages for model in stage.base_models())
    files = all(data.is_local for stage in stages for data in stage.data)
    before = os.environ.get("HF_HUB_OFFLINE")
    if local and files:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)
