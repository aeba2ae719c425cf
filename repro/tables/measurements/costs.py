"""Cost of each stage: hours, tokens, FLOPs and memory, from its record, summary and history (Table 5)."""

import json
from pathlib import Path
from typing import Any, cast

from typing_extensions import TypedDict

from repro.models.folder import count_parameters
from repro.models.loading import locate
from repro.planner.architectures import named_parameters
from repro.planner.hours import TABLE5_ROWS
from repro.planner.resources import resources_for
from repro.recipes.study import Row, Scale, Study
from repro.stages import Calibrate, Stage
from repro.stages.artifact import MODEL, RECORD
from repro.stages.references import Model
from repro.stages.workload import PASSES
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
"""`PASSES` in words. DERIVED: 2 N FLOPs per token for a forward pass, 6 N for forward and backward; D only counts
completion tokens, so prompts come on top."""


class CostLine(TypedDict):
    """One stage. hours: GPU-hours or core-hours (see unit); tokens and flops: None if the record does not say."""

    artifact: str
    kind: str
    label: str
    hours: float
    tokens: int | None
    flops: float | None
    peak_memory_gib: float


class Costs(TypedDict):
    """Costs of all stages of a study. unit: "GPU-hours" if the machine has GPUs, else "core-hours"."""

    unit: str
    lines: list[CostLine]


def study_costs(study: Study, cache: Path) -> Costs:
    """Return the cost of every stage of the study."""
    stages = study.stages()
    records = [_record_of(stage, cache) for stage in stages]
    on_gpus = any(record["gpu_hours"] > 0 for record in records)
    lines: list[CostLine] = []
    for stage, record in zip(stages, records):
        tokens = completion_tokens(stage, cache)
        per_token = None if tokens is None else stage_flops_per_token(stage, cache)
        lines.append(
            {
                "artifact": stage.folder_name,
                "kind": stage.procedure,
                "label": record["label"],
                "hours": _hours(record, study.scale, on_gpus),
                "tokens": tokens,
                "flops": None if tokens is None or per_token is None else tokens * per_token,
                "peak_memory_gib": record["peak_memory_gib"],
            }
        )
    return {"unit": "GPU-hours" if on_gpus else "core-hours", "lines": lines}


def add_costs(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add calibration and GKD-RKL, paired: items are the etas, each with its teacher's student.

    The other lines of Table 5 are one stage per seed, without spread: they only appear in the page's cost table.
    """
    records: dict[str, dict[float, list[dict[str, Any]]]] = {"calibrate": {}, "gkd-rkl": {}}
    students = [model for rows in rows_of.values() for row in rows for model in row.stage.inputs()]
    for student in students:
        for teacher in student.inputs():
            if teacher.procedure == "calibrate":
                eta = cast(Calibrate, teacher).config.eta
                for stage in (teacher, student):
                    records[stage.procedure].setdefault(eta, []).append(_record_of(stage, cache))
    on_gpus = any(
        record["gpu_hours"] > 0 for by_eta in records.values() for of_eta in by_eta.values() for record in of_eta
    )
    for procedure, by_eta in records.items():
        etas = sorted(by_eta)
        values = [[_hours(by_eta[eta][n], table.scale, on_gpus) for eta in etas] for n in range(len(table.seeds))]
        metric = "gpu_hours" if on_gpus else "core_hours"
        table.add(PROCESSES[procedure], "pipeline", metric, [f"eta {eta:+g}" for eta in etas], values)


def _hours(record: dict[str, Any], scale: Scale, on_gpus: bool) -> float:
    """Return the GPU-hours of a stage, or core-hours if no stage of the study had a GPU."""
    return float(record["gpu_hours"] if on_gpus else record["seconds"] * resources_for(scale).threads / 3600)


def completion_tokens(stage: Stage, cache: Path) -> int | None:
    """Return the completion tokens the stage sampled or trained on, or None if its files do not say."""
    folder, workload = cache / stage.folder_name, stage.workload
    summary = json.loads((folder / "summary.json").read_text())
    if stage.procedure == "evaluate":
        return sum(summary[data.task]["tokens"] for data in stage.data)  # non-task entries: sampler, odd rows
    if stage.procedure == "sample":
        return int(summary["tokens"])
    if workload.trains and workload.samples:
        rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        lengths = [row.get("length") for row in rows]
        return None if not lengths or None in lengths else round(sum(lengths) * workload.sequences_per_step)
    if stage.full_traces is not None:
        sampled = json.loads((cache / stage.full_traces.folder_name / "summary.json").read_text())
        return round(workload.steps * workload.sequences_per_step * sampled["tokens"] / sampled["completions"])
    return None


def stage_flops_per_token(stage: Stage, cache: Path) -> float | None:
    """Return the FLOPs per completion token, or None if a model's size is unknown."""
    models = (stage.workload.main, stage.workload.frozen)
    main, frozen = (0.0 if model is None else parameters_of(model, cache) for model in models)
    return None if main is None or frozen is None else stage.workload.passes.flops(main, frozen)


def flops_per_token(procedure: str, large: float, small: float) -> float:
    """Return the FLOPs per completion token for a line of Table 5.

    Args:
        large, small: parameters of teacher and student; for a calibration, of teacher and target.
    """
    is_of_student = procedure in ("sft", "gkd-fkl", "gkd-rkl")
    return PASSES[procedure].flops(*((small, large) if is_of_student else (large, small)))


def parameters_of(model: Model, cache: Path) -> float | None:
    """Return a model's parameter count: from the weights if it is a folder, else from its name ("8B")."""
    location = cache / model.folder_name / MODEL if model.folder_name else locate(model.base_model.name)
    return float(count_parameters(location)) if isinstance(location, Path) else named_parameters(location)


def _record_of(stage: Stage, cache: Path) -> dict[str, Any]:
    return dict(json.loads((cache / stage.folder_name / RECORD).read_text()))
