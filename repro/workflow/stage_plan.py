"""Show what a stage on the user's models would do: inputs, prompts, completions, caps and minutes. Runs nothing."""

from pathlib import Path

from rich.console import Console

from repro.pipeline.preflight import check_pairs
from repro.planner.cards import machine_gpu
from repro.planner.corrections import Estimate, corrections_from
from repro.planner.hours import estimate_stage
from repro.planner.words import describe_seconds
from repro.recipes.settings import flatten
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, which_cached
from repro.stages.readable_label import describe_stage
from repro.system.hardware import hardware
from repro.workflow.prompt_preview import prompt_lines

SHOWN = (
    "steps",
    "learning_rate",
    "group_size",
    "prompts_per_step",
    "completions_per_prompt",
    "max_completion_tokens",
    "temperature",
    "eta",
    "engine",
)
"""The settings that determine what a stage does and costs; the record has all of them."""


def print_stage_plan(stage: Stage, out: Path, console: Console) -> None:
    """Print a line per stage, inputs first: cached or its minutes, items per task, key settings; then a prompt.

    Raises:
        InputError: two local models lack what a stage needs in common. Hub models are checked when they are read.
    """
    stages, corrections = topological_order([stage]), corrections_from(out, machine_gpu(hardware()))
    cached = which_cached(stages, out)
    waiting = [needed for needed, is_cached in zip(stages, cached) if not is_cached]
    check_pairs([needed for needed in waiting if all(model.is_local for model in needed.base_models())])
    for needed, is_cached in zip(stages, cached):
        estimate = estimate_stage(needed, corrections, on_gpu=needed.workload.uses_gpu)
        cost = "cached" if is_cached else describe_cost(estimate)
        items = ", ".join(f"{data.task} {data.n:,} {data.split}" for data in needed.data if data.n is not None)
        console.print(f"{describe_stage(needed, out / CACHE)}: {cost}", highlight=False, markup=False, soft_wrap=True)
        if items:
            console.print(f"  items: {items}", highlight=False, markup=False, soft_wrap=True)
        settings = flatten(needed.config.model_dump(mode="json")) if hasattr(needed, "config") else {}
        chosen = [f"{key} {settings[key]}" for key in SHOWN if settings.get(key) is not None]
        if chosen:
            console.print(f"  settings: {', '.join(chosen)}", highlight=False, markup=False, soft_wrap=True)
    for line in prompt_lines(stage):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print("Nothing was run. --set KEY=VALUE changes a setting of the stage, --items the prompts per task.")


def describe_cost(estimate: Estimate) -> str:
    """Format an estimate; below a minute as "under a minute", since tenths would be false precision."""
    return "under a minute" if estimate.high < 60 else f"about {describe_seconds(estimate)}"
