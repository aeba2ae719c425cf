"""One step of each stage, really run: the study's own models, engine and code, in a folder that is thrown away."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.doctor.finding import Finding, fail, good
from repro.errors import InputError, StageError
from repro.pipeline.cluster import Execution
from repro.pipeline.run import run
from repro.planner.resources import resources_for
from repro.recipes.catalog import plan
from repro.recipes.study import Study
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, RECORD

SEQUENCES, PROMPTS = 8, 4


def trial_study(study: Study) -> Study:
    """The study with one optimiser step a stage, a few items and completions, and its own caps and engine."""
    methods = ("sft", "gkd_fkl", "gkd_rkl")
    small = (
        "train_items=8",
        "test_items=4",
        "calibration.steps=1",
        f"calibration.prompts_per_step={PROMPTS}",
        "calibration.group_size=2",
        "teacher_sampling.completions_per_prompt=2",
        "evaluation.completions_per_prompt=2",
        *(f"{method}.{setting}" for method in methods for setting in ("steps=1", f"sequences_per_step={SEQUENCES}")),
    )
    return plan(
        study.name, scale=study.scale, families=study.families, seeds=1, assignments=(*study.assignments, *small)
    )


def one_of_each(stages: list[Stage]) -> list[Stage]:
    """The first stage of every kind on every set of models, with what these need."""
    chosen: dict[tuple[Any, ...], Stage] = {}
    for stage in stages:
        models = tuple(sorted(model.name for model in stage.base_models()))
        chosen.setdefault((stage.procedure, models), stage)
    return topological_order(chosen.values())


def try_stages(study: Study, out: Path, workers: int) -> Iterator[Finding]:
    """Run the trial, stage by stage in the order of the study; stop at the first that fails.

    Args:
        out: where the study will be: the trial is on the same disk.
    """
    stages = one_of_each(trial_study(study).stages())
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=out) as folder:
        place = Path(folder)
        started = time.monotonic()
        try:
            execution = Execution(resources_for(study.scale, checkpoint_every=0), workers)
            run(stages, place, execution, console=Console(quiet=True), quiet=True)
            trouble = None
        except (InputError, StageError) as error:
            trouble = str(error)
        for stage in stages:
            record = place / CACHE / stage.folder_name / RECORD
            if record.is_file():
                facts = json.loads(record.read_text())
                summary = json.loads((record.parent / "summary.json").read_text())
                alarm = summary.get("alarm") or summary.get("sampler", {}).get("alarm")
                words = f"{facts['seconds']:.0f} s, {facts['peak_memory_gib']:.1f} GiB at its peak"
                yield fail(f"one step: {stage.label}", alarm) if alarm else good(f"one step: {stage.label}", words)
        if trouble is not None:
            yield fail("one step of each stage", f"{trouble} ({time.monotonic() - started:.0f} s)")
