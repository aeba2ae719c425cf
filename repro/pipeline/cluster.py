"""Backends that stages run on: this process, subprocesses, or Slurm jobs. Not part of a stage's identity.

Slurm's state is read only from `squeue`. Many clusters turn off accounting (`sacct`), which submitit relies on; a
killed job would then appear to run forever.
"""

import contextlib
import dataclasses
import logging
import math
import os
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pydantic

from repro.errors import InputError
from repro.planner.resources import Layout, Resources
from repro.stages import Stage
from repro.system.input_errors import describe_problem

Backend = Literal["local", "slurm", "none"]
POLL_S = 5.0
"""Seconds between two calls of squeue."""
MAX_JOBS = 256
"""Maximum number of concurrent Slurm jobs per study, unless --workers overrides it."""
FINISHED_AFTER_MISSES = 3
"""Number of squeue calls a job must be missing from to count as finished: a shared disk may delay its result."""

USUAL_REASONS = {"None", "Priority", "Resources", "JobArrayTaskLimit"}
"""Ordinary reasons for a job to wait; a running job has "None"."""
log = logging.getLogger(__name__)


class Cluster(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Request of a Slurm job; the fields are the keys of a --cluster-file.

    Attributes:
        hours: time limit of one job. A stage that needs longer resumes from its checkpoint in the next job.
        gpus: per job, all on one node.
        gpu_memory_gib: what CUDA reports for each of these GPUs, which stages are planned for; None for what the scale
            needs. Not part of the request.
        cpus: per job.
        memory_gib: host memory per job.
        setup: shell lines that run before the stage, such as `module load cuda`.
        extra: further sbatch options, by their long names.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    hours: float = pydantic.Field(default=24.0, gt=0)
    gpus: int | None = pydantic.Field(default=None, ge=0)
    gpu_memory_gib: float | None = pydantic.Field(default=None, gt=0)
    cpus: int | None = pydantic.Field(default=None, gt=0)
    memory_gib: float | None = pydantic.Field(default=None, gt=0)
    setup: tuple[str, ...] = ()
    extra: dict[str, str | int | bool] = {}

    def infra(self) -> dict[str, Any]:
        """Convert to exca's settings."""
        settings = {
            "timeout_min": max(1, round(self.hours * 60)),
            "gpus_per_node": self.gpus or None,
            "cpus_per_task": self.cpus,
            "mem_gb": self.memory_gib,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(self.extra) or None,
        }
        return {name: value for name, value in settings.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Execution:
    """Execution of a run's stages: backend, workers, resources. Not part of their identity.

    Attributes:
        resources: per stage.
        workers: maximum number of concurrent stages; always 1 with the backend `none`.
        cluster: what each job requests, on Slurm.
        layouts: fingerprint of a stage -> its layout, if that is not to be chosen by the size of its models.
    """

    resources: Resources
    workers: int = 1
    backend: Backend = "local"
    cluster: Cluster = dataclasses.field(default_factory=Cluster)
    layouts: Mapping[str, Layout] = dataclasses.field(default_factory=dict)

    def resources_of(self, stage: Stage) -> Resources:
        """Return the resources of a stage, with its layout filled in if it has been chosen."""
        layout = self.layouts.get(stage.fingerprint)
        return self.resources.with_layout(layout) if layout else self.resources


def parse_cluster(backend: str, file: Path | None, options: Sequence[str]) -> tuple[Backend, Cluster]:
    """Parse --cluster, --cluster-file and `key=value` options, which take precedence over the file.

    Raises:
        InputError: an unknown backend, key or value, a file that cannot be read, or no Slurm on this machine.
    """
    if backend not in get_args(Backend):
        raise InputError(f"--cluster {backend}: no such backend. Backends: {', '.join(get_args(Backend))}")
    if backend != "slurm":
        if file or options:
            raise InputError(f"--cluster-file and --cluster-option need --cluster slurm, not {backend}")
        return backend, Cluster()  # type: ignore[return-value]
    settings = _read(file) if file else {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"--cluster-option {option}: write key=value, for example partition=gpu")
        settings[key.strip()] = value.strip()
    try:
        cluster = Cluster.model_validate(settings)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"cluster setting {key}={first['input']!r}: {describe_problem(first)}. Settings: {', '.join(Cluster.model_fields)}"
        ) from None
    missing = [command for command in ("sbatch", "squeue", "scancel", "srun") if not shutil.which(command)]
    if missing:
        raise InputError(
            f"--cluster slurm: no {missing[0]} on this machine. Run this where Slurm jobs can be submitted."
        )
    return "slurm", cluster


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"--cluster-file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--cluster-file {file}: not TOML: {error}") from None


def check_gpus(cluster: Cluster, resources: Resources) -> str | None:
    """Return a warning about the GPUs requested by jobs whose stages use hub models, or None.

    Raises:
        InputError: fewer GPUs than each stage should get.
    """
    if cluster.gpus is None and not any("gpu" in f"{name}={value}" for name, value in cluster.extra.items()):
        return "the Slurm jobs request no GPUs: gpus=8 in the cluster file, or --cluster-option gpus=8"
    if cluster.gpus is None or cluster.gpus == resources.gpu_count:
        return None
    if cluster.gpus < resources.gpu_count:
        server = f" --vllm-server {resources.vllm_server}" if resources.vllm_server else ""
        raise InputError(
            f"--ranks {resources.ranks}{server}: the Slurm jobs request {cluster.gpus} GPUs; request"
            f" {resources.gpu_count} (--cluster-option gpus={resources.gpu_count}), or use fewer."
        )
    most = cluster.gpus - resources.vllm_server
    return (
        f"each Slurm job holds {cluster.gpus} GPUs, and a stage that fits on {resources.gpu_count} uses no more: --ranks"
        f" {most} splits it over all of them"
    )


def check_host(cluster: Cluster, cpus: int, host_gib: float) -> list[str]:
    """Return warnings about CPUs and host memory that the jobs request too little of, or not at all.

    Args:
        cpus, host_gib: what the stages use at most.
    """
    extra = " ".join(cluster.extra)
    unset = []
    if cluster.cpus is None and not any(option in extra for option in ("cpus", "exclusive")):
        unset.append(f"cpus={cpus}")
    if cluster.memory_gib is None and "mem" not in extra:
        unset.append(f"memory_gib={math.ceil(host_gib)}")
    warnings = []
    if unset:
        warnings.append(
            f"stages use up to {' and '.join(unset)}, and the Slurm jobs do not request that: many clusters then give one core"
            " and little memory. Add it to the cluster file, or with --cluster-option"
        )
    if cluster.memory_gib is not None and cluster.memory_gib < host_gib:
        warnings.append(
            f"stages need up to {host_gib:.0f} GiB of host memory, and the Slurm jobs request {cluster.memory_gib:g}: set"
            f" memory_gib={math.ceil(host_gib)}"
        )
    return warnings


class SlurmQueue:
    """Our jobs in Slurm's queue: one squeue call for all of them, every few seconds."""

    def __init__(self) -> None:
        self._last_poll = 0.0
        self._misses: dict[str, int] = {}
        self._printed_reasons: set[str] = set()

    def finished(self, jobs: Iterable[str]) -> set[str]:
        """Return the jobs that have left the queue for good; if Slurm does not answer, assume nothing changed."""
        job_ids = set(jobs)
        if job_ids and time.monotonic() - self._last_poll > POLL_S:
            self._last_poll = time.monotonic()
            queued = _queued({job.partition("_")[0] for job in job_ids})
            if queued is not None:
                self._tell_why_jobs_wait({job: queued[job] for job in job_ids if job in queued})
                self._misses = {job: 0 if job in queued else self._misses.get(job, 0) + 1 for job in job_ids}
        return {job for job in job_ids if self._misses.get(job, 0) >= FINISHED_AFTER_MISSES}

    def _tell_why_jobs_wait(self, reasons: dict[str, str]) -> None:
        """Print, once each, the reasons that will not go away when other jobs finish: some block a job forever."""
        for job, reason in reasons.items():
            if reason not in USUAL_REASONS | self._printed_reasons:
                self._printed_reasons.add(reason)
                log.warning("Slurm holds job %s back: %s (squeue --jobs=%s)", job, reason, job)


def _queued(jobs: set[str]) -> dict[str, str] | None:
    """Return squeue's jobs (array members separately) with their reasons for waiting; None if it does not answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i %T %r", f"--jobs={','.join(sorted(jobs))}"]
    # the user's SQUEUE_PARTITION, SQUEUE_STATES and the like would hide jobs, and we would submit them again
    env = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:  # Slurm has already forgotten a finished job
        return None
    lines = [[*line.split(maxsplit=2), "None"] for line in answer.stdout.splitlines()]
    ended = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "OUT_OF_MEMORY"}
    return {line[0]: line[2] for line in lines if len(line) > 2 and line[1] not in ended | {"DEADLINE"}}


def cancel(jobs: Iterable[str]) -> None:
    """Run scancel without waiting and without output: it is safe to kill a stage at any moment."""
    ids = sorted(set(jobs))
    if ids:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", *ids], capture_output=True, timeout=300, check=False)


def submitted_jobs(folder: Path) -> Iterator[str]:
    """Yield the Slurm job ids that submitit left below a driver's exca folder, read from its file names."""
    for script in folder.glob("*/logs/*_submission.sh"):
        yield script.name.removesuffix("_submission.sh")
