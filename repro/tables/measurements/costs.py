"""What each stage cost: hours, tokens, arithmetic and memory, from its record, summary and history (Table 5)."""

import json
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from repro.models.loading import locate
from repro.planner.hours import TABLE5_ROWS
from repro.planner.resources import resources_for
from repro.recipes.study import Row, Study
from repro.stages import BaseModelRef, Calibrate, Distill, Evaluate, ModelInput, Sample, Stage
from repro.stages.artifact import MODEL, RECORD
from repro.tables.measured_table import MeasuredTable

PROCESSES = {**TABLE5_ROWS, "evaluate": "Evaluation (Table 5 has no line for it)"}
FORMULAS = {
    "calibrate": "D (10 T + 2 C): the teacher T draws (2), is scored for the reward (2) and trained (6, an upper bound with LoRA),"
    " the target C scores (2)",
    "sample": "2 T D",
    "sft": "6 S D",
    "gkd-fkl": "D (6 S + 2 T): the student S is trained, the teacher T scores",
    "gkd-rkl": "D (8 S + 2 T): the student S draws and is trained, the teacher T scores",
    "evaluate": "2 N D",
}
"""DERIVED: 2 N operations per token forwards, 6 N forwards and backwards; D counts completion tokens alone, so prompts come
on top."""


class CostLine(TypedDict):
    """One stage. hours: GPU-hours or core-hours (see unit); tokens and flops: None where the record does not tell."""

    artifact: str
    kind: str
    label: str
    hours: float
    tokens: int | None
    flops: float | None
    peak_memory_gib: float


class Costs(TypedDict):
    """Of all stages of a study. unit: "GPU-hours" where the machine has GPUs, else "core-hours"."""

    unit: str
    lines: list[CostLine]


def kind_of(stage: Stage) -> str:
    """Kind of a stage: the method of a distillation, else what it does."""
    return stage.config.method if isinstance(stage, Distill) else stage.does


def study_costs(study: Study, cache: Path) -> Costs:
    """Cost of every stage of the study."""
    stages = study.stages()
    records = [json.loads((cache / stage.folder_name / RECORD).read_text()) for stage in stages]
    on_gpus = any(record["gpu_hours"] > 0 for record in records)
    threads = resources_for(study.scale).threads
    lines: list[CostLine] = []
    for stage, record in zip(stages, records):
        tokens = tokens_of(stage, cache)
        weight = operations_per_token(stage, cache)
        lines.append(
            {
                "artifact": stage.folder_name,
                "kind": kind_of(stage),
                "label": record["label"],
                "hours": record["gpu_hours"] if on_gpus else record["seconds"] * threads / 3600,
                "tokens": tokens,
                "flops": None if tokens is None or weight is None else tokens * weight,
                "peak_memory_gib": record["peak_memory_gib"],
            }
        )
    return {"unit": "GPU-hours" if on_gpus else "core-hours", "lines": lines}


def add_costs(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Calibration and GKD-RKL, paired: items are the etas, each with the student of that very teacher.

    The other lines of Table 5 are one stage per seed, which has no spread: they stand in the page's cost table alone.
    """
    hours: dict[str, dict[float, list[float]]] = {"calibrate": {}, "gkd-rkl": {}}
    metrics = set()
    for row in (row for rows in rows_of.values() for row in rows):
        student = getattr(row.stage, "model", None)
        if isinstance(student, Distill) and isinstance(student.teacher, Calibrate):
            for stage in (student.teacher, student):
                record = json.loads((cache / stage.folder_name / RECORD).read_text())
                metrics.add("gpu_hours" if record["gpu_hours"] else "core_hours")
                spent = record["gpu_hours"] or record["seconds"] * resources_for(table.scale).threads / 3600
                hours[kind_of(stage)].setdefault(student.teacher.config.eta, []).append(spent)
    for kind, by_eta in hours.items():
        etas = sorted(by_eta)
        values = [[by_eta[eta][n] for eta in etas] for n in range(len(table.seeds))]
        for metric in metrics if len(metrics) == 1 else ():
            table.add(PROCESSES[kind], "pipeline", metric, [f"eta {eta:+g}" for eta in etas], values)


def tokens_of(stage: Stage, cache: Path) -> int | None:
    """Completion tokens that the stage drew or trained on; None where its files do not tell."""
    folder = cache / stage.folder_name
    summary = json.loads((folder / "summary.json").read_text())
    if isinstance(stage, Evaluate):
        return sum(task["tokens"] for task in summary.values())
    if isinstance(stage, Sample):
        return int(summary["tokens"])
    if isinstance(stage, Calibrate):
        return _trained_tokens(folder, stage.config.prompts_per_step * stage.config.group_size)
    if isinstance(stage, Distill) and stage.samples is None:
        return _trained_tokens(folder, stage.config.sequences_per_step)
    if isinstance(stage, Distill) and stage.samples is not None and stage.config.traces == "full":
        drawn = json.loads((cache / stage.samples.folder_name / "summary.json").read_text())
        return round(stage.config.steps * stage.config.sequences_per_step * drawn["tokens"] / drawn["completions"])
    return None


def operations_per_token(stage: Stage, cache: Path) -> float | None:
    """Arithmetic per completion token by the kind's formula in `FORMULAS`; None where a model's size is unknown."""
    if isinstance(stage, Calibrate):
        return flops_per_token("calibrate", parameters_of(stage.teacher, cache), parameters_of(stage.target, cache))
    if isinstance(stage, Distill):
        own = parameters_of(stage.student, cache)
        return flops_per_token(stage.config.method, parameters_of(stage.teacher, cache), own)
    if isinstance(stage, Evaluate | Sample):
        return flops_per_token(stage.does, parameters_of(stage.model, cache), 0)
    return None


def flops_per_token(kind: str, large: float | None, small: float | None) -> float | None:
    """The formula of a kind. large: teacher's (or the one model's) parameters; small: student's, of calibrate the target's."""
    if large is None or small is None:
        return None
    return {
        "calibrate": 10 * large + 2 * small,
        "sample": 2 * large,
        "evaluate": 2 * large,
        "sft": 6 * small,
        "gkd-fkl": 6 * small + 2 * large,
        "gkd-rkl": 8 * small + 2 * large,
    }.get(kind)


def parameters_of(model: ModelInput, cache: Path) -> float | None:
    """Parameters of a model: counted in its weights where they are a folder, else read off its name ("8B")."""
    if isinstance(model, Stage):
        return float(count_parameters(cache / model.folder_name / MODEL))
    assert isinstance(model, BaseModelRef)
    where = locate(model.name)
    return float(count_parameters(where)) if isinstance(where, Path) else named_parameters(where)


def named_parameters(name: str) -> float | None:
    """8e9 of "Qwen/Qwen3-8B"; None where the name tells nothing."""
    found = re.search(r"(\d+(?:\.\d+)?)([bBmM])\b", name)
    return None if found is None else float(found[1]) * (1e9 if found[2] in "bB" else 1e6)


def count_parameters(folder: Path) -> int:
    """Elements of all tensors in a folder's safetensors files, read from their headers."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        total += sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")
    return total


def _trained_tokens(folder: Path, sequences_per_step: int) -> int | None:
    rows: Sequence[dict[str, Any]] = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    lengths = [row.get("length") for row in rows]
    if not lengths or any(length is None for length in lengths):
        return None
    return round(sum(length for length in lengths if length is not None) * sequences_per_step)
