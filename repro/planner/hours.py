"""Expected hours of a stage: seconds measured at toy scale, above it GPU-hours derived from Table 5 (a diagnosis: a roofline).

Table 5 prints H100 hours of the Qwen pipeline for one epoch. A stage is charged in proportion to the tokens that it may
generate or train on and to the size of its model, against the same stage at paper scale. The paper's counts are lost, so
the proportion rests on ASSUMED values: read the hours as an order of magnitude.
"""

import functools
from dataclasses import dataclass

from repro.calibration.config import CalibrationConfig
from repro.distillation.config import DistillationConfig
from repro.evaluation.config import ANSWER_TOKENS
from repro.planner.architectures import DEFAULT_PARAMETERS, named_parameters
from repro.planner.scoring import H100, scoring_seconds
from repro.planner.tokens import planned_tokens
from repro.printed.load import load
from repro.recipes import paper, toy
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
TABLE5_BILLIONS = {"calibrate": 8.0, "sample": 8.0, "sft": 1.7, "gkd-fkl": 1.7, "gkd-rkl": 1.7}
"""Size of the model that each line of Table 5 generates with or trains (Qwen3-8B, Qwen3-1.7B)."""
CHARGED_AS = {"evaluate": "sample", "continue": "sample", "classify": "sample"}
"""Stages that Table 5 has no line for. Prefixes and a judge's replies are completions; rules cost nothing. A diagnosis scores
completions and trains nothing, so no line is like it: its hours are those of `scoring.scoring_seconds`."""

TOY_SECONDS = {
    "calibrate": 38.0,
    "sample": 10.0,
    "sft": 31.0,
    "gkd-fkl": 53.0,
    "gkd-rkl": 66.0,
    "evaluate": 11.0,
    "diagnose": 49.0,
    "continue": 20.0,
    "classify": 8.0,
}
"""MEASURED at the toy scale's settings (`repro run table2 --scale toy --seeds 3`, 2026-11-24, two cores, two stages at a
time): mean seconds of the records, and 5 s for the start of a process; with earlier teachers and training prompts (three
seeds of the current ones, on a busy machine: calibrate 42, sample 13, sft 34, gkd-fkl 56, gkd-rkl 79, without the start).
diagnose: six records of table1 and table4, one seed, on a busy machine. continue and classify: CPU seconds of one seed of
figure4 and failure-modes, and the start of a process."""

TOY_START_SECONDS = 5.0
"""Seconds of each that are the start of a process; the rest grows with the tokens that a stage samples or trains on."""
TOY_DIAGNOSED_TASKS = 10 / 3
"""Tasks times policies of a diagnosis, mean of those six records."""
TOY_MIB = {
    "calibrate": 2.7,
    "distill": 0.6,
    "sample": 0.2,
    "evaluate": 0.1,
    "diagnose": 2.0,
    "continue": 0.1,
    "classify": 0.1,
}
"""MEASURED: mean size of an artifact at toy scale (same records)."""


@functools.cache
def printed_hours() -> dict[str, float]:
    """Return the H100 hours that Table 5 prints, by kind of stage (PAPER)."""
    table = load("table5")
    return {kind: table.cell("pipeline", "gpu_hours", process=process).value for kind, process in TABLE5_ROWS.items()}


def expected_hours(stage: Stage, scale: Scale) -> float:
    """Return wall-clock hours on one core at toy scale, H100 hours above it; a server's hours are not counted."""
    procedure, tokens = stage.procedure, planned_tokens(stage) if stage.workload.runs_model else 0.0
    if scale == "toy":
        working = TOY_SECONDS[procedure] - TOY_START_SECONDS
        return (TOY_START_SECONDS + working * tokens / _toy_tokens(procedure)) / 3600
    if stage.workload.scores_in_parts:
        return scoring_seconds(stage, H100) / 3600
    line = CHARGED_AS.get(procedure, procedure)
    share = tokens / _paper_tokens()[line]
    return printed_hours()[line] * share * _billions(stage) / _table5_billions(procedure)


def study_hours(study: Study, workers: int) -> float:
    """Return wall-clock hours of a complete study on that many cores (toy) or GPUs, kept busy."""
    return sum(expected_hours(stage, study.scale) for stage in study.stages()) / workers


def toy_mib(study: Study) -> float:
    """Return MiB of artifacts that a study leaves at toy scale."""
    return sum(TOY_MIB[stage.kind] for stage in study.stages())


def table5_hours(stage: Stage) -> float | None:
    """Return the hours that Table 5 prints for such a stage of the Qwen pipeline; None if it has no line for it."""
    return printed_hours().get(stage.procedure)


@functools.cache
def _toy_tokens(procedure: str) -> float:
    """Return the tokens of the stage that `TOY_SECONDS` was measured on: Table 2's, at the toy scale's settings."""
    settings = toy.settings()
    training = _training_tokens(settings)
    if procedure in training:
        return training[procedure]
    sampling = settings.teacher_sampling if procedure == "sample" else settings.evaluation
    items = (settings.train_items if procedure == "sample" else settings.test_items) or 0
    per_item, length = sampling.completions_per_prompt, sampling.max_completion_tokens
    tasks = TOY_DIAGNOSED_TASKS if procedure == "diagnose" else len(settings.tasks)
    if procedure == "continue":
        prefixes = settings.prefixes
        per_item = prefixes.per_prompt * prefixes.continuations * (1 + len(prefixes.fractions))
    if procedure == "classify":
        length = ANSWER_TOKENS
    return float(tasks * items * per_item * length)


@functools.cache
def _paper_tokens() -> dict[str, float]:
    """Return the tokens of Table 5's lines at the paper scale's settings."""
    settings = paper.settings()
    sampling = settings.teacher_sampling
    epoch = settings.sft.steps * settings.sft.sequences_per_step  # prompts, by Table 5's caption
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


def _billions(stage: Stage) -> float:
    """Return the size of the model that the stage is charged by, read off its name; 8 where the name states none."""
    main = stage.workload.main
    return ((named_parameters(main.base_model.name) if main else None) or DEFAULT_PARAMETERS) / 1e9


def _table5_billions(procedure: str) -> float:
    """Return the same for the line of Table 5."""
    return TABLE5_BILLIONS[CHARGED_AS.get(procedure, procedure)]


@dataclass(frozen=True)
class Table5Stage:
    """One kind of stage of a scale's pipeline: completion tokens at most, and parameters of its two models (teacher and
    student; for calibrate teacher and target)."""

    tokens: float
    large: float
    small: float


def table5_stages() -> dict[str, Table5Stage]:
    """Return what Table 5's lines generate and train on, over the paper's Qwen pair and ASSUMED counts."""
    tokens = _paper_tokens()
    return {line: Table5Stage(tokens[line], 8e9, 0.6e9 if line == "calibrate" else 1.7e9) for line in TABLE5_ROWS}


def describe_derivation(study: Study) -> list[str]:
    """Say how the hours of a plan above toy scale follow from Table 5, a line for each kind of stage and model size."""
    lines = []
    for stage in study.stages():
        if stage.workload.scores_in_parts:
            hours = expected_hours(stage, study.scale)
            lines.append(
                f"{stage.procedure}: {planned_tokens(stage):.3g} tokens by the roofline of an H100 = {hours:.1f} h"
            )
            continue
        line = CHARGED_AS.get(stage.procedure, stage.procedure)
        lines.append(
            f"{stage.procedure}: {printed_hours()[line]:g} h x {planned_tokens(stage):.3g} / {_paper_tokens()[line]:.3g} tokens"
            f" x {_billions(stage):g} / {_table5_billions(stage.procedure):g} billion parameters"
            f" = {expected_hours(stage, study.scale):.1f} h"
        )
    return list(dict.fromkeys(lines))
