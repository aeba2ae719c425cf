"""Expected hours of a stage before it runs: seconds measured at toy scale, GPU-hours derived from Table 5 above it.

Table 5 prints H100 hours of the Qwen pipeline for one epoch. A stage is charged in proportion to the tokens that it may
generate or train on and to the size of its model, against the same stage at paper scale. The paper's counts are lost, so
the proportion rests on ASSUMED values: read the hours as an order of magnitude.
"""

import functools
import re
from dataclasses import dataclass

from repro.recipes import paper, toy
from repro.recipes.assumed import assumed
from repro.recipes.study import Scale, Study
from repro.stages import (
    BaseModelRef,
    Calibrate,
    Classify,
    Continue,
    Diagnose,
    Distill,
    Evaluate,
    Sample,
    ServedModelRef,
    Stage,
)
from repro.tables.paper.load import load
from repro.tasks.row_counts import expected_items

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
CHARGED_AS = {"evaluate": "sample", "diagnose": "gkd-fkl", "continue": "sample", "classify": "sample"}
"""Stages without a line of their own. A diagnosis, like GKD on stored completions, scores them with both models, and
trains none: an upper bound. Prefixes and a judge's replies are completions; rules cost nothing at all."""

JUDGE_TOKENS = 64
"""Of one reply, at most; its prompt is not charged."""

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
"""MEASURED at the toy scale's own settings (`repro run table2 --scale toy --seeds 3`, 2026-11-24, two cores, two stages at a
time): mean seconds of the records, and 5 s more for the start of a process; before the teachers and training
prompts of today (three seeds of these, on a busy machine: calibrate 42, sample 13, sft 34, gkd-fkl 56, gkd-rkl 79, without the start). Of diagnose: six records of table1 and table4, one seed,
on a machine that had other work. Of continue and classify: CPU seconds of one seed of figure4 and failure-modes, and the start of
a process."""

TOY_START_SECONDS = 5.0
"""Seconds of each that are the start of a process; the rest grows with the tokens that a stage draws or trains on."""
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
"""MEASURED: mean size of an artifact of the toy world (those same records)."""


@functools.cache
def printed_hours() -> dict[str, float]:
    """Return the H100 hours that Table 5 prints, by kind of stage (PAPER)."""
    table = load("table5")
    return {kind: table.cell("pipeline", "gpu_hours", process=process).value for kind, process in TABLE5_ROWS.items()}


def expected_hours(stage: Stage, scale: Scale) -> float:
    """Wall-clock hours on one core at toy scale; H100 hours above it."""
    kind = _line(stage)
    if isinstance(stage, Classify) and isinstance(stage.judge, ServedModelRef):
        return TOY_START_SECONDS / 3600 if scale == "toy" else 0.0  # the server's hours are not this machine's
    if scale == "toy":
        return (
            TOY_START_SECONDS + (TOY_SECONDS[kind] - TOY_START_SECONDS) * planned_tokens(stage) / _toy_tokens(kind)
        ) / 3600
    line = CHARGED_AS.get(kind, kind)
    share = planned_tokens(stage) / _paper_tokens(line)
    billions = TABLE5_BILLIONS["sample" if kind == "diagnose" else line]  # a diagnosis is charged by its teacher
    return printed_hours()[line] * share * _billions(stage) / billions


def study_hours(study: Study, workers: int) -> float:
    """Wall-clock hours of a whole study on that many cores (toy) or GPUs, kept busy."""
    return sum(expected_hours(stage, study.scale) for stage in study.stages()) / workers


def toy_mib(study: Study) -> float:
    """MiB of artifacts that a study leaves at toy scale."""
    return sum(TOY_MIB[stage.does] for stage in study.stages())


def _line(stage: Stage) -> str:
    return stage.config.method if isinstance(stage, Distill) else stage.does


def planned_tokens(stage: Stage) -> float:
    """Upper bound on the completion tokens that the stage draws or trains on."""
    if isinstance(stage, Calibrate):
        sequences = stage.config.steps * stage.config.prompts_per_step * stage.config.group_size
    elif isinstance(stage, Distill):
        sequences = stage.config.steps * stage.config.sequences_per_step
    elif isinstance(stage, Continue):
        own = stage.prefixes
        sequences = planned_items(stage) * own.per_prompt * own.continuations * (1 + len(own.fractions))
        return float(sequences * stage.after.config.max_completion_tokens)
    elif isinstance(stage, Classify):
        return (
            float(planned_items(stage) * stage.after.config.completions_per_prompt * JUDGE_TOKENS)
            if stage.judge
            else 0.0
        )
    elif isinstance(stage, Diagnose):
        return sum(planned_tokens(one) for one in (stage.on_policy, stage.off_policy) if one is not None)
    elif isinstance(stage, Sample | Evaluate):
        sequences = planned_items(stage) * stage.config.completions_per_prompt
    else:
        raise AssertionError(stage.does)
    return float(sequences * stage.config.max_completion_tokens)


def planned_items(stage: Stage) -> int:
    """Items that the stage will get: what it asks for, or all there are where a data set has fewer (or none is named)."""
    data = stage.data
    return sum(expected_items(one.task, one.split, one.n) or assumed("train_items") for one in data)


def table5_hours(stage: Stage) -> float | None:
    """What Table 5 prints for such a stage of the Qwen pipeline; None where it has no line."""
    return printed_hours().get(_line(stage))


def _toy_tokens(line: str) -> float:
    """Tokens of the stage that `TOY_SECONDS` was measured on: Table 2's, at the toy scale's own settings."""
    settings = toy.settings()
    if line == "calibrate":
        c = settings.calibration
        return float(c.steps * c.prompts_per_step * c.group_size * c.max_completion_tokens)
    if line == "continue":
        p = settings.prefixes
        sequences = p.per_prompt * p.continuations * (1 + len(p.fractions)) * len(settings.tasks)
        return float(sequences * (settings.test_items or 0) * settings.evaluation.max_completion_tokens)
    if line == "classify":
        return float(
            len(settings.tasks) * (settings.test_items or 0) * settings.evaluation.completions_per_prompt * JUDGE_TOKENS
        )
    if line in ("sample", "evaluate", "diagnose"):
        drawn = settings.teacher_sampling if line == "sample" else settings.evaluation
        items = (settings.train_items if line == "sample" else settings.test_items) or 0
        tasks = TOY_DIAGNOSED_TASKS if line == "diagnose" else len(settings.tasks)
        return float(tasks * items * drawn.completions_per_prompt * drawn.max_completion_tokens)
    d = {"sft": settings.sft, "gkd-fkl": settings.gkd_fkl, "gkd-rkl": settings.gkd_rkl}[line]
    return float(d.steps * d.sequences_per_step * d.max_completion_tokens)


@functools.cache
def _paper_tokens(line: str) -> float:
    settings = paper.settings()
    if line == "calibrate":
        c = settings.calibration
        return float(c.steps * c.prompts_per_step * c.group_size * c.max_completion_tokens)
    if line == "sample":
        s = settings.teacher_sampling
        epoch = settings.sft.steps * settings.sft.sequences_per_step  # prompts, by Table 5's caption
        return float(epoch * s.completions_per_prompt * s.max_completion_tokens)
    d = settings.gkd_rkl
    return float(d.steps * d.sequences_per_step * d.max_completion_tokens)


def _billions(stage: Stage) -> float:
    """Parameters of the model that generates or is trained (of a diagnosis: the teacher), read off its name; 8 where the
    name does not tell."""
    if isinstance(stage, Calibrate | Diagnose | Continue):
        model = stage.teacher.base_model
    elif isinstance(stage, Classify):
        model = stage.judge if isinstance(stage.judge, BaseModelRef) else stage.after.model.base_model
    else:
        model = (stage if isinstance(stage, Distill) else stage.model).base_model  # type: ignore[attr-defined]
    found = re.search(r"(\d+(?:\.\d+)?)[bB]\b", model.name)
    return float(found.group(1)) if found else 8.0


@dataclass(frozen=True)
class Table5Stage:
    """One kind of stage of a scale's pipeline: completion tokens at most, and parameters of its two models (teacher and
    student; for calibrate teacher and target)."""

    tokens: float
    large: float
    small: float


def table5_stages() -> dict[str, Table5Stage]:
    """What Table 5's lines generate and train on, over the paper's Qwen pair and ASSUMED counts."""
    return {
        kind: Table5Stage(
            _paper_tokens(kind if kind in ("calibrate", "sample") else "gkd-rkl"),
            8e9,
            0.6e9 if kind == "calibrate" else 1.7e9,
        )
        for kind in TABLE5_ROWS
    }


def describe_derivation(study: Study) -> list[str]:
    """How the hours of a plan above toy scale come from Table 5, a line for each kind of stage and size of model."""
    lines = []
    for stage in study.stages():
        kind = _line(stage)
        line = CHARGED_AS.get(kind, kind)
        printed = TABLE5_BILLIONS["sample" if kind == "diagnose" else line]
        lines.append(
            f"{kind}: {printed_hours()[line]:g} h x {planned_tokens(stage):.3g} / {_paper_tokens(line):.3g} tokens"
            f" x {_billions(stage):g} / {printed:g} billion parameters = {expected_hours(stage, study.scale):.1f} h"
        )
    return list(dict.fromkeys(lines))
