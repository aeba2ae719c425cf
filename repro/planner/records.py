"""Measured seconds of stages that ran on this machine, from their records."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from repro.errors import InputError
from repro.planner.cards import CPU_CORE, machine_gpu
from repro.planner.roofline import stage_seconds
from repro.stages import Stage, stage_adapter
from repro.stages.artifact import CACHE, RECORD
from repro.system.hardware import hardware

NEWEST = 400
"""Maximum number of records read: planning must stay fast."""
SAME_MEMORY = 0.05
"""Relative difference in memory up to which two runs count as on the same machine (cgroup limits vary)."""


@dataclass(frozen=True)
class MeasuredStage:
    """How long a stage took.

    Attributes:
        on_gpu: GPUs were used.
        seconds: time of the stage in its process, multiplied by its GPUs.
        process_seconds: from process start to stage start; None if not recorded.
        modelled: seconds predicted by the model without factors, on such a GPU or a core.
        ended: date and time, UTC.
    """

    stage: Stage
    on_gpu: bool
    seconds: float
    process_seconds: float | None
    modelled: float
    ended: str


def read_measured(out: Path) -> list[MeasuredStage]:
    """Return the stages below `out` that ran on this machine, newest first.

    Skips records that are damaged, of stages unknown to this version, or of models that no longer exist.
    """
    files = sorted((out / CACHE).glob(f"*/{RECORD}"), key=_modified, reverse=True)[:NEWEST]
    machine = hardware()
    return sorted(_readable(files, machine), key=lambda measured: measured.ended, reverse=True)


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _readable(files: list[Path], machine: Mapping[str, Any]) -> Iterator[MeasuredStage]:
    for file in files:
        try:
            record = json.loads(file.read_text())
            if is_same_machine(record["hardware"], machine):
                yield measured_stage(record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pydantic.ValidationError, InputError):
            continue


def measured_stage(record: Mapping[str, Any]) -> MeasuredStage:
    """Parse the measurement in a record.

    Raises:
        KeyError, ValueError, TypeError: not a record of a stage of this version.
    """
    stage, gpus = stage_adapter.validate_python(record["config"]), len(record["gpus"])
    started = record.get("process_seconds")
    return MeasuredStage(
        stage=stage,
        on_gpu=gpus > 0,
        seconds=float(record["seconds"]) * max(1, gpus),
        process_seconds=None if started is None else float(started),
        modelled=stage_seconds(stage, machine_gpu(record["hardware"]) if gpus else CPU_CORE),
        ended=str(record["ended"]),
    )


def is_same_machine(recorded: Mapping[str, Any], machine: Mapping[str, Any]) -> bool:
    """Return True if a record's hardware matches this machine's, as far as it shows without a host name."""
    if any(recorded[key] != machine[key] for key in ("machine", "system", "cpus")):
        return False
    if recorded.get("processor", machine["processor"]) != machine["processor"]:
        return False
    if not {gpu["name"] for gpu in recorded["gpus"]} <= {gpu["name"] for gpu in machine["gpus"]}:
        return False  # a stage's record has the GPUs that were its own
    return abs(recorded["memory_gib"] - machine["memory_gib"]) <= SAME_MEMORY * float(machine["memory_gib"])
