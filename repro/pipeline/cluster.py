"""Where stages run: in this process, in processes beside it, or as Slurm jobs. None of it is identity.

Slurm's state is asked of `squeue` alone: accounting (`sacct`), which submitit asks, is off on many clusters, and a killed
job would then look as if it ran for ever.
"""

import contextlib
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pydantic

from repro.errors import InputError

Backend = Literal["local", "slurm", "none"]
POLL_S = 5.0
"""Seconds between two questions to squeue."""
MAX_JOBS = 256
"""Jobs of one study that may run at once on Slurm, unless --workers says otherwise."""
FINISHED_AFTER_MISSES = 3
"""Answers of squeue without a job before it counts as gone: its result may still be on its way over a shared disk."""


class Cluster(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What a Slurm job is asked for; the fields are the keys of a --cluster-file.

    Attributes:
        hours: time limit of one job. A stage that needs longer goes on from its checkpoint in the next.
        gpus: of one job, all on one node.
        cpus: of one job.
        setup: shell lines before the stage starts, such as `module load cuda`.
        extra: further sbatch options, by their long names.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    hours: float = pydantic.Field(default=24.0, gt=0)
    gpus: int | None = pydantic.Field(default=None, ge=0)
    cpus: int | None = pydantic.Field(default=None, gt=0)
    memory_gib: float | None = pydantic.Field(default=None, gt=0)
    setup: tuple[str, ...] = ()
    extra: dict[str, str | int | bool] = {}

    def infra(self) -> dict[str, Any]:
        """The same for exca."""
        given = {
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
        return {name: value for name, value in given.items() if value is not None}


def parse_cluster(where: str, file: Path | None, options: Sequence[str]) -> tuple[Backend, Cluster]:
    """Where to run and with what, from --cluster, --cluster-file and `key=value` options, which win over the file.

    Raises:
        InputError: an unknown place, key or value, a file that cannot be read, or no Slurm on this machine.
    """
    if where not in get_args(Backend):
        raise InputError(f"--cluster {where}: no such place. Places: {', '.join(get_args(Backend))}")
    if where != "slurm":
        if file or options:
            raise InputError(f"--cluster-file and --cluster-option go with --cluster slurm, not {where}")
        return where, Cluster()  # type: ignore[return-value]
    given = _read(file) if file else {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"--cluster-option {option}: write key=value, for example partition=gpu")
        given[key.strip()] = value.strip()
    try:
        asked = Cluster.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"cluster setting {key}={first['input']!r}: {first['msg']}. Settings: {', '.join(Cluster.model_fields)}"
        ) from None
    missing = [command for command in ("sbatch", "squeue", "scancel", "srun") if not shutil.which(command)]
    if missing:
        raise InputError(f"--cluster slurm: no {missing[0]} on this machine. Start it where Slurm jobs are submitted.")
    return "slurm", asked


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"--cluster-file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--cluster-file {file}: not TOML: {error}") from None


class SlurmQueue:
    """What Slurm still holds of our jobs: one question for all of them, every few seconds."""

    def __init__(self) -> None:
        self._asked = 0.0
        self._missed: dict[str, int] = {}

    def gone(self, jobs: Iterable[str]) -> set[str]:
        """Jobs that have left the queue for good. A Slurm that does not answer tells nothing."""
        wanted = set(jobs)
        if wanted and time.monotonic() - self._asked > POLL_S:
            self._asked = time.monotonic()
            held = _held({job.partition("_")[0] for job in wanted})
            if held is not None:
                self._missed = {job: 0 if job in held else self._missed.get(job, 0) + 1 for job in wanted}
        return {job for job in wanted if self._missed.get(job, 0) >= FINISHED_AFTER_MISSES}


def _held(jobs: set[str]) -> set[str] | None:
    """Job ids, array members one by one, that squeue lists; None where it does not answer."""
    words = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(sorted(jobs))}"]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:  # Slurm has forgotten a job that ended
        return None
    lines = [line.split() for line in answer.stdout.splitlines()]
    over = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "OUT_OF_MEMORY"}
    return {line[0] for line in lines if len(line) == 2 and line[1] not in over | {"DEADLINE"}}


def cancel(jobs: Iterable[str]) -> None:
    """scancel, at once and without a word: a stage may be killed at any moment."""
    ids = sorted(set(jobs))
    if ids:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", *ids], capture_output=True, timeout=300, check=False)


def submitted_jobs(folder: Path) -> Iterator[str]:
    """Slurm job ids that submitit noted below exca's folder of a driver, by the names of its files."""
    for note in folder.glob("*/logs/*_submission.sh"):
        yield note.name.removesuffix("_submission.sh")
