"""Execution of stages in order: what is cached is skipped, what is ready is submitted, what ends is checked."""

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
    """A stage that ended without a result. blocked: the stages that need it, directly or not, and are not run."""

    stage: Stage
    error: InputError | StageError
    blocked: tuple[Stage, ...]


def join_errors(failures: Sequence[Failure]) -> InputError | StageError:
    """Return the first failure's error, which names the other failed stages, too."""
    error, others = failures[0].error, [with_seed(f.stage.label, f.stage.seed) for f in failures[1:]]
    return type(error)(f"{error} Failed, too: {', '.join(others)}.") if others else error


OnTick = Callable[[Sequence[Stage], Sequence[Running], Sequence[Stage], Sequence[Failure]], None]
"""Called about five times a second with the stages that are done, running and waiting, and with failures."""

MOST_FAILURES = 3
"""Failures one after the other, without a success in between, after which only stages of other kinds are started; once as many
kinds have failed so, nothing: they have one cause."""

_POLL_SECONDS = 0.025
"""Between two looks at whether a job has ended: reading a few exit codes, where a stage of the toy scale takes seconds."""


def is_cached(stage: Stage, cache: Path) -> bool:
    """Return True if the artifact is complete and undamaged. A damaged one is moved aside, its files kept."""
    folder = cache / stage.folder_name
    if not is_complete(folder):
        return False
    if find_damage(folder) is None:
        return True
    with contextlib.suppress(filelock.Timeout), artifact_lock(cache, stage, timeout=0):  # held: another driver's work
        if is_complete(folder) and find_damage(folder) is not None:
            folder.rename(cache / f"{stage.folder_name}.damaged-{uuid.uuid4().hex[:8]}")
    return False


def _wait_for_an_end(running: Sequence[Running], seconds: float = 0.2) -> None:
    """Wait until one of these jobs has ended, and at most so long: then progress is shown again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not any(run.job.has_ended() for run in running):
        time.sleep(_POLL_SECONDS)


def run_stages(stages: Sequence[Stage], cache: Path, *, execution: Execution, on_tick: OnTick) -> tuple[Failure, ...]:
    """Run what is not cached, inputs first, at most `execution.workers` stages at a time; return what failed.

    A failure stops only the stages that need its result, unless `MOST_FAILURES` come one after the other (`_may_start`). What
    failed in an earlier run is tried last.

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
    queue, lost_jobs, gpus = SlurmQueue(), LostJobs(), GpuPool(execution.resources, enabled=not on_slurm)
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
    """Return the ready stages that may start after these failures without a success in between.

    A kind that fails by its data (attacks that need answers, of a model that gives none) does not stop the others; a
    machine on which nothing works is left after a few.
    """
    if len(failed_in_a_row) < MOST_FAILURES:
        return list(ready)
    kinds = {stage.procedure for stage in failed_in_a_row}
    return [stage for stage in ready if stage.procedure not in kinds] if len(kinds) < MOST_FAILURES else []


def _dependents(failed: Stage, waiting: Sequence[Stage], needs: Mapping[str, set[str]]) -> list[Stage]:
    """Return the waiting stages, in topological order, that need a failed one, directly or not."""
    without_result = {failed.fingerprint}
    dependents = []
    for stage in waiting:
        if needs[stage.fingerprint] & without_result:
            without_result.add(stage.fingerprint)
            dependents.append(stage)
    return dependents
