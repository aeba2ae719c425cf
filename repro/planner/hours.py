"""Expected hours: the model of seconds (`roofline`) corrected by records (`corrections`), next to Table 5's.

Above toy scale they are hours on one GPU: this machine's if its data sheet is known (`cards.DATA_SHEETS`), else an
H100. Every completion is at its length cap. `tests/planner/test_roofline.py` and docs/scale.md compare the model with
Table 5's own rows, on counts that we ASSUME since the paper's are lost.
"""

import functools
from dataclasses import dataclass

from repro.calibration.config import CalibrationConfig
from repro.distillation.config import DistillationConfig
from repro.planner.cards import CPU_CORE, Card
from repro.planner.corrections import Corrections, Estimate, shipped_corrections
from repro.planner.roofline import stage_seconds
from repro.planner.tokens import planned_tokens
from repro.printed.load import load
from repro.recipes import paper
from repro.recipes.settings import Settings
from repro.recipes.study import Scale, Study
from repro.stages import Stage

TABLE5_ROWS = {
    "calibrate": "Teacher calibration (RFT, LoRA)",
    "sample": "Teacher sampling (off-policy, up-front)",
    "sft": "Student SFT",
    "gkd-fkl": "Student GKD w/ FKL",
    "gkd-rkl": "Student GKD w/ on-policy RKL",
}
"""Kind of stage -> the row of Table 5."""
TOY_MIB = {
    "calibrate": 2.7,
    "distill": 0.6,
    "sample": 0.2,
    "evaluate": 0.1,
    "train-output-layer": 1.6,
    "diagnose": 2.0,
    "continue": 0.1,
    "classify": 0.1,
    "guarded": 0.2,
    "select": 0.1,
    "mix": 0.2,
    "rewrite": 0.2,
    "score": 0.1,
    "weigh": 0.1,
    "grade": 0.1,
    "score-answers": 0.1,
}
"""MEASURED: mean size of an artifact at toy scale (same records)."""


@functools.cache
def printed_hours() -> dict[str, float]:
    """Return the H100 hours printed in Table 5, by kind of stage (PAPER)."""
    table = load("table5")
    return {kind: table.cell("pipeline", "gpu_hours", process=process).value for kind, process in TABLE5_ROWS.items()}


def estimate_stage(stage: Stage, corrections: Corrections, *, on_gpu: bool) -> Estimate:
    """Return the seconds of a stage over its GPUs (those of the corrections) or on one core, including process startup.

    A server's hours are not counted.
    """
    return corrections.estimate(stage, stage_seconds(stage, corrections.gpu if on_gpu else CPU_CORE), on_gpu=on_gpu)


def estimate(stage: Stage, scale: Scale, corrections: Corrections | None = None) -> Estimate:
    """Return the same at a given scale: toy models run on the CPU.

    Args:
        corrections: None for the shipped ones, of an H100.
    """
    corrections = shipped_corrections() if corrections is None else corrections
    return estimate_stage(stage, corrections, on_gpu=scale != "toy" and stage.workload.uses_gpu)


def expected_hours(stage: Stage, scale: Scale, corrections: Corrections | None = None) -> float:
    """Return hours on one core at toy scale, and hours on one GPU above it."""
    return estimate(stage, scale, corrections).seconds / 3600


def hours_on_card(study: Study, card: Card) -> float:
    """Return a study's hours on one GPU of this kind, stages run sequentially, without corrections."""
    return sum(stage_seconds(stage, card) for stage in study.stages()) / 3600


def study_hours(study: Study, workers: int) -> float:
    """Return the hours of a complete study on that many fully utilised cores (toy) or GPUs."""
    return sum(expected_hours(stage, study.scale) for stage in study.stages()) / workers


def toy_mib(study: Study) -> float:
    """Return the MiB of artifacts a study leaves at toy scale."""
    return sum(TOY_MIB[stage.kind] for stage in study.stages())


def table5_hours(stage: Stage) -> float | None:
    """Return Table 5's hours for such a stage of the Qwen pipeline, or None if it has no line for it."""
    return printed_hours().get(stage.procedure)


@functools.cache
def _paper_tokens() -> dict[str, float]:
    """Return the tokens behind Table 5's lines at the paper scale's settings."""
    settings = paper.settings()
    sampling = settings.teacher_sampling
    epoch = settings.sft.steps * settings.sft.sequences_per_step  # prompts, from Table 5's caption
    sampled = float(epoch * sampling.completions_per_prompt * sampling.max_completion_tokens)
    return {"sample": sampled, **_training_tokens(settings)}


def _training_tokens(settings: Settings) -> dict[str, float]:
    configs: dict[str, CalibrationConfig | DistillationConfig] = {
        "calibrate": settings.calibration,
        "sft": settings.sft,
        "gkd-fkl": settings.gkd_fkl,
        "gkd-rkl": settings.gkd_rkl,
    }
    return {
        procedure: float(config.steps * config.sequences_per_step * config.max_completion_tokens)
        for procedure, config in configs.items()
    }


@dataclass(frozen=True)
class Table5Stage:
    """One kind of stage in a scale's pipeline: maximum completion tokens, and parameters of its two models (teacher and
    student; for calibrate, teacher and target)."""

    tokens: float
    large: float
    small: float


def table5_stages() -> dict[str, Table5Stage]:
    """Return what Table 5's lines generate and train on, for the paper's Qwen pair and ASSUMED counts."""
    tokens = _paper_tokens()
    return {line: Table5Stage(tokens[line], 8e9, 0.6e9 if line == "calibrate" else 1.7e9) for line in TABLE5_ROWS}


def describe_derivation(study: Study) -> list[str]:
    """For each kind of stage and model, compare our model of hours with Table 5."""
    lines = []
    for stage in study.stages():
        hours, printed = expected_hours(stage, study.scale), table5_hours(stage)
        main = stage.workload.main
        name = f" of {main.base_model.name}" if main else ""
        line = f"{stage.procedure}{name}: {planned_tokens(stage):.3g} tokens = {hours:.1f} h of an H100 by the model"
        lines.append(line + (f"; Table 5 prints {printed:g} h for Qwen3" if printed else ""))
    return list(dict.fromkeys(lines))
