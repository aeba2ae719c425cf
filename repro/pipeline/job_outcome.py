"""Outcome of a finished job: a result, an error with a log, or a job lost by Slurm."""

import contextlib
import logging
import shutil
from pathlib import Path

from repro.errors import InputError, StageError
from repro.pipeline.progress_file import progress_path, read_progress
from repro.pipeline.submission import Running
from repro.stages import Stage
from repro.stages.artifact import is_complete
from repro.stages.readable_label import with_seed
from repro.system.atomic_write import look_again
from repro.system.redaction import redact

MAX_LOSSES = 3
"""How often Slurm may lose a stage (killed, preempted, node down, out of time) with no progress in between."""

log = logging.getLogger(__name__)


class LostJobs:
    """Stages whose jobs Slurm has lost, and how far each had got."""

    def __init__(self) -> None:
        self._losses: dict[str, tuple[int, int]] = {}

    def should_resubmit(self, run: Running, cache: Path) -> bool:
        """Return True if the job was lost, and not too often at the same point."""
        if run.job.outcome() is not None or is_complete(cache / run.stage.folder_name):
            return False  # it finished with a result or an error, or was lost after finishing
        report = progress_path(cache, run.stage)
        look_again(report.parent)
        reached = int((read_progress(report) or {"done": 0})["done"])
        count, before = self._losses.get(run.stage.fingerprint, (0, -1))
        count = 1 if reached > before else count + 1
        self._losses[run.stage.fingerprint] = (count, max(reached, before))
        if count < MAX_LOSSES:
            label = with_seed(run.stage.label, run.stage.seed)
            log.warning("%s: job %s was lost%s. It is submitted again.", label, run.job.job_id, _slurms_reason(run))
        return count < MAX_LOSSES


def _slurms_reason(run: Running) -> str:
    """Return Slurm's last message in a job's output (out of memory or time, preempted), prefixed with a colon."""
    mark = "slurmstepd: error:"
    lines = [line.removeprefix(mark).strip(" *.") for line in run.job.output().splitlines() if line.startswith(mark)]
    return f": {lines[-1]}" if lines else ""


def log_file(cache: Path, stage: Stage) -> Path:
    """Return the path of a stage's log, which exists once the stage has ended."""
    return cache / ".logs" / f"{stage.folder_name}.log"


def find_error(run: Running, cache: Path) -> InputError | StageError | None:
    """Write the log of a finished job; return why it has no result, or None if it has one.

    Raises:
        InputError: the disk is full.
        StageError: the process that started the job has ended.
    """
    file = log_file(cache, run.stage)
    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        file.write_text(redact(run.job.output()), encoding="utf-8")
    label, is_built = run.stage.label, is_complete(cache / run.stage.folder_name)
    outcome = run.job.outcome()
    if outcome is None and not is_built:
        if shutil.disk_usage(cache).free < 1 << 20:
            raise InputError(f"{label}: no space left on device at {cache}. Free some space; the same command resumes.")
        return StageError(
            f"{label}: its process was killed{_slurms_reason(run)}. Log: {file}. The same command resumes."
        )
    if outcome and "input_error" in outcome:
        return InputError(redact(outcome["input_error"]))
    if outcome and "stage_error" in outcome:
        return StageError(f"{label}: {redact(outcome['stage_error'])}. Log: {file}. The same command resumes.")
    return None if is_built else StageError(f"{label}: ended without a record. Log: {file}.")
