"""Trial run: one step of each kind of stage with the study's models, engine and code, in a temporary folder."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from repro.doctor.finding import Finding, fail, good
from repro.errors import InputError, StageError
from repro.pipeline.cluster import Execution
from repro.pipeline.run import run_what_succeeds
from repro.planner.gpu_memory import gpu_memory
from repro.planner.resources import resources_for
from repro.recipes.catalog import plan
from repro.recipes.study import Study
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, RECORD

SEQUENCES, PROMPTS = 8, 4


def trial_study(study: Study) -> Study:
    """Return the study with one optimiser step per stage, a few items and completions, and its token caps and engine."""
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


def one_of_each(study: Study) -> list[Stage]:
    """Return, per kind and family, the stage that needs the most memory, plus their inputs."""
    chosen: dict[tuple[str, str], tuple[float, Stage]] = {}
    for family in study.families:
        for stage in topological_order([row.stage for row in study.rows if row.family == family]):
            size = gpu_memory(stage).total
            if size > chosen.get((family, stage.procedure), (-1.0, stage))[0]:
                chosen[family, stage.procedure] = (size, stage)
    return topological_order([stage for _, stage in chosen.values()])


def try_stages(study: Study, out: Path, workers: int) -> Iterator[Finding]:
    """Run the trial, stage by stage in the study's order; a failure blocks the stages that need its result.

    Args:
        out: the results folder; the trial uses the same disk.
    """
    stages = one_of_each(trial_study(study))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=out) as folder:
        trial_out = Path(folder)
        started = time.monotonic()
        try:
            execution = Execution(resources_for(study.scale, checkpoint_every=0, checkpoint_minutes=0.0), workers)
            failures = run_what_succeeds(stages, trial_out, execution, console=Console(quiet=True), quiet=True)
            problems = [str(failure.error) for failure in failures]
        except (InputError, StageError) as error:
            problems = [str(error)]
        for stage in stages:
            record = trial_out / CACHE / stage.folder_name / RECORD
            if record.is_file():
                facts = json.loads(record.read_text())
                summary = json.loads((record.parent / "summary.json").read_text())
                alarm = summary.get("alarm") or summary.get("sampler", {}).get("alarm")
                peak = f"{facts['seconds']:.0f} s, {facts['peak_memory_gib']:.1f} GiB peak memory"
                yield fail(f"one step: {stage.label}", alarm) if alarm else good(f"one step: {stage.label}", peak)
        for problem in problems:
            yield fail("one step of each stage", f"{problem} ({time.monotonic() - started:.0f} s)")
