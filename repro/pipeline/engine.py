"""Run stages in order: skip cached ones, submit ready ones, check finished ones."""

import contextlib
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from repro.errors import InputError, StageError
from repro.pipeline.cluster import Execution, SlurmQueue
from repro.pipeline.gpu_pool import GpuPool
from repro.pipeline.job_outcome import LostJobs, find_error, log_file
from repro.pipeline.record import find_damage
from repro.pipeline.run_stage import artifact_lock
from repro.pipeline.submission import Running, Submission, accounting_off, driver_folder
from repro.stages import Stage
from repro.stages.artifact import is_complete
from repro.stages.readable_label import with_seed
from repro.system.child_processes import block_signals


@dataclass(frozen=True)
class Failure:
    """A stage that ended without a result. blocked: its direct and indirect dependents, which are not run."""

    stage: Stage
    error: InputError | StageError
    blocked: tuple[Stage, ...]


def join_errors(failures: Sequence[Failure]) -> InputError | StageError:
    """Return the first failure's error, extended with the names of the other failed stages."""
    error, others = failures[0].error, [with_seed(f.stage.label, f.stage.seed) for f in failures[1:]]
    return type(error)(f"{error} Also failed: {', '.join(others)}.") if others else error


OnTick = Callable[[Sequence[Stage], Sequence[Running], Sequence[Stage], Sequence[Failure]], None]
"""Called about five times a second with the done, running and waiting stages and the failures."""

MOST_FAILURES = 3
"""Consecutive failures after which only stages of other kinds are started. Once that many kinds have failed, nothing is
started: the failures must share a cause."""

_POLL_SECONDS = 0.025
"""Interval for polling jobs: cheap (a few exit codes), and short next to a toy stage, which takes seconds."""


def is_cached(stage: Stage, cache: Path) -> bool:
    """Return True if the artifact is complete and undamaged. A damaged one is moved aside and its files are kept."""
    folder = cache / stage.folder_name
    if not is_complete(folder):
        return False
    if find_damage(folder) is None:
        return True
    with contextlib.suppress(filelock.Timeout), artifact_lock(cache, stage, timeout=0):  # another driver is at work
        if is_complete(folder) and find_damage(folder) is not None:
            folder.rename(cache / f"{stage.folder_name}.damaged-{uuid.uuid4().hex[:8]}")
    return False


def _wait_for_an_end(running: Sequence[Running], seconds: float = 0.2) -> None:
    """Wait until one of these jobs has ended, or until progress is due to be shown again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not any(run.job.has_ended() for run in running):
        time.sleep(_POLL_SECONDS)


def run_stages(stages: Sequence[Stage], cache: Path, *, execution: Execution, on_tick: OnTick) -> tuple[Failure, ...]:
    """Run the stages that are not cached, inputs first, at most `execution.workers` at a time; return the failures.

    A failure blocks only its dependents, unless `MOST_FAILURES` occur in a row (`_may_start`). Stages that failed in an
    earlier run are tried last.

    Args:
        stages: in topological order (`stages.topological_order`).

    Raises:
        InputError: the disk is full.
        StageError: the process that starts the stages has ended.
    """
    running: list[Running] = []
    failures: list[Failure] = []
    failed_in_a_row: list[Stage] = []
    on_slurm = execution.backend == "slurm"
    workers = 1 if execution.backend == "none" else execution.workers
    queue, lost_jobs, gpus = SlurmQueue(), LostJobs(), GpuPool(execution)
    with driver_folder(cache) as folder, accounting_off(execution):
        submission = Submission(cache, folder, execution)
        try:
            submission.prepare(stages)
            done = [stage for stage in stages if is_cached(stage, cache)]
            complete = {stage.fingerprint for stage in done}
            waiting = [stage for stage in stages if stage.fingerprint not in complete]
            needs = {stage.fingerprint: {needed.fingerprint for needed in stage.inputs()} for stage in waiting}
            tried_before = {stage.fingerprint for stage in waiting if log_file(cache, stage).exists()}
            while True:
                ready = [stage for stage in waiting if needs[stage.fingerprint] <= complete]
                ready = sorted(_may_start(ready, failed_in_a_row), key=lambda stage: stage.fingerprint in tried_before)
                if not ready and not running:
                    break
                if batch := gpus.acquire(ready, limit=workers - len(running)):
                    on_tick(done, running, waiting, failures)
                    waiting = [stage for stage in waiting if stage not in [started for started, _ in batch]]
                    running += submission.submit(batch)
                on_tick(done, running, waiting, failures)
                if execution.backend != "none":
                    _wait_for_an_end([] if on_slurm else running)
                left_queue = queue.finished(run.job.job_id for run in running) if on_slurm else set()
                for run in [run for run in running if run.job.job_id in left_queue or run.job.has_ended()]:
                    running.remove(run)
                    gpus.release(run.gpus)
                    if on_slurm and lost_jobs.should_resubmit(run, cache):
                        waiting.insert(0, run.stage)
                    elif error := find_error(run, cache):
                        failed_in_a_row.append(run.stage)
                        blocked = _dependents(run.stage, waiting, needs)
                        failures.append(Failure(run.stage, error, tuple(blocked)))
                        waiting = [stage for stage in waiting if stage not in blocked]
                    else:
                        failed_in_a_row.clear()
                        complete.add(run.stage.fingerprint)
                        done.append(run.stage)
            on_tick(done, running, waiting, failures)
        finally:
            with block_signals(signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C waits until nothing is left running
                submission.stop()
    return tuple(failures)


def _may_start(ready: Sequence[Stage], failed_in_a_row: Sequence[Stage]) -> list[Stage]:
    """Return the ready stages that may start after these consecutive failures.

    A kind of stage that fails because of its data (an attack needs answers, the model gives none) does not stop the
    others; on a machine where nothing works, the run gives up after a few failures.
    """
    if len(failed_in_a_row) < MOST_FAILURES:
        return list(ready)
    kinds = {stage.procedure for stage in failed_in_a_row}
    return [stage for stage in ready if stage.procedure not in kinds] if len(kinds) < MOST_FAILURES else []


def _dependents(failed: Stage, waiting: Sequence[Stage], needs: Mapping[str, set[str]]) -> list[Stage]:
    """Return the waiting stages that directly or indirectly depend on a failed one, in topological order."""
    without_result = {failed.fingerprint}
    dependents = []
    for stage in waiting:
        if needs[stage.fingerprint] & without_result:
            without_result.add(stage.fingerprint)
            dependents.append(stage)
    return dependents
