"""Run a stage and its inputs on the user's own models, and print the outcome."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.pipeline.preflight import check_access
from repro.pipeline.run import run
from repro.planner.resources import resources_for
from repro.planner.scales import use_gpus_of, use_largest_gpus
from repro.report.evaluation_text import describe_evaluation
from repro.report.stage_summary import describe_calibration, print_summary
from repro.stages import Calibrate, Evaluate, Stage, topological_order
from repro.stages.accuracy_course import accuracy_course, describe_course, describe_fall
from repro.stages.alarms import find_alarms
from repro.stages.artifact import CACHE, RECORD, which_cached
from repro.stages.readable_label import describe_record
from repro.system.hardware import hardware
from repro.workflow.own_models import scale_of


def run_with_inputs(stage: Stage, out: Path, *, console: Console, quiet: bool, **resources: Any) -> Path:
    """Run the stage and its inputs; return the folder of its artifact. resources: fields of `Resources`, None for the scale's."""
    stages = topological_order([stage])
    if any(needed.workload.uses_gpu for needed in stages):
        use_largest_gpus(hardware())
    else:
        use_gpus_of("toy", hardware())
    check_access([needed for needed, is_cached in zip(stages, which_cached(stages, out)) if not is_cached])
    is_toy = all(scale_of(model.name) == "toy" for model in stage.base_models())
    execution = Execution(resources_for("toy" if is_toy else "small", **resources))
    run(stages, out, execution, console=console, quiet=quiet)
    return out / CACHE / stage.folder_name


def run_and_print(stage: Stage, out: Path, *, console: Console, quiet: bool, **resources: Any) -> None:
    """Run the stage and its inputs with `run_with_inputs`; print its artifact folder, summary and notes."""
    folder = run_with_inputs(stage, out, console=console, quiet=quiet, **resources)
    label = describe_record(json.loads((folder / RECORD).read_text()), folder.parent)
    console.print(f"{label}: {folder}", highlight=False, markup=False, soft_wrap=True)
    if (folder / "model").is_dir():
        console.print(f"model: {folder / 'model'}", highlight=False, markup=False, soft_wrap=True)
    summary = json.loads((folder / "summary.json").read_text())
    print_summary(summary, console)
    history = _history_of(folder)
    eta = stage.config.eta if isinstance(stage, Calibrate) and stage.config.reward == "r_cal" else 0.0
    if rewards := describe_calibration(history, eta):
        console.print(rewards, highlight=False, markup=False, soft_wrap=True)
    course = accuracy_course(history)
    if course:
        console.print(describe_course(course), highlight=False, markup=False, soft_wrap=True)
    for alarm in [*find_alarms(summary), *([describe_fall(course)] if course and course.has_fallen else [])]:
        console.print(alarm, style="bold yellow", highlight=False, markup=False, soft_wrap=True)
    if isinstance(stage, Evaluate):
        for line in describe_evaluation(folder):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _history_of(folder: Path) -> list[dict[str, Any]]:
    """Return a training stage's logged steps; empty for other stages."""
    file = folder / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
