"""Completions of the same prompt side by side: what the numbers look like as text. The first ones, not hand-picked."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from repro.evaluation.classify import MODES_FILE
from repro.evaluation.failure_modes import MODES
from repro.evaluation.graded import Graded, PromptKey, by_prompt, read_graded
from repro.evaluation.prefixes import CONTINUATIONS_FILE
from repro.generation.rollouts import stream_rows
from repro.recipes.labels import teacher_under
from repro.recipes.study import Row, Study
from repro.report.result import Completion, Example
from repro.report.text import cut
from repro.stages import Stage
from repro.stages.artifact import ROLLOUTS

METHODS = (
    *("Teacher", "Distillable", "Undistillable", "Undistillable (OOD)"),
    *("Student", "Improve", "Misled", "Misled (OOD)", "Misled (CD)"),
)
PROMPTS = 2
"""Prompts per family and task; for failure modes, examples per mode, student and task."""


def answers(study: Study, cache: Path) -> list[Example]:
    """Show each model's first completion on the first prompts, per family and task, that all models answered."""
    return _side_by_side(study, cache, METHODS)


def guarded_answers(study: Study, cache: Path) -> list[Example]:
    """Show the same for each guarded teacher, and for the student before and after training on its own samples."""
    labels = dict.fromkeys(row.method for row in study.rows if row.stage.kind in ("evaluate", "grade"))
    teachers = [label for label in labels if label.startswith(teacher_under(""))]
    return _side_by_side(study, cache, (*teachers, "Student", "no-teacher"))


def _side_by_side(study: Study, cache: Path, methods: Sequence[str]) -> list[Example]:
    examples = []
    for family in study.families:
        rows = [row for row in _first_seed(study) if row.family == family and row.method in methods]
        files: dict[str, list[Path]] = {}  # a row may represent one model per task: then each has its own stage
        for row in sorted(rows, key=lambda row: methods.index(row.method)):
            file = cache / row.stage.folder_name / ROLLOUTS
            if file.is_file():
                files.setdefault(row.method, []).append(file)
        shared = set.intersection(*map(_answered_prompts, files.values())) if files else set()
        prompts = [prompt for task in study.tasks for prompt in sorted(p for p in shared if p[0] == task)[:PROMPTS]]
        examples += first_completions(files, prompts, family)
    return examples


def first_completions(
    files: Mapping[str, Sequence[Path]], prompts: Sequence[PromptKey], family: str = ""
) -> list[Example]:
    """Show each model's first completion on prompts that all models answered.

    Args:
        files: files of graded completions, by model label; a model may have one per task.
        family: the models' family, if known.
    """
    first = {
        model: {g.prompt: g for file in paths for g in read_graded(file, prompts) if g.rollout.sample == 0}
        for model, paths in files.items()
    }
    return [
        _example(
            family,
            next(iter(first.values()))[prompt],
            [_completion(model, graded[prompt]) for model, graded in first.items()],
        )
        for prompt in prompts
    ]


def _first_seed(study: Study) -> list[Row]:
    return [row for row in study.rows if row.seed == study.seeds[0]]


def _answered_prompts(files: list[Path]) -> set[PromptKey]:
    rows = (row for file in files for row in stream_rows(file, ["task", "item_id", "sample"]))
    return {(row["task"], row["item_id"]) for row in rows if row["sample"] == 0}


def failure_modes(study: Study, cache: Path) -> list[Example]:
    """Show the first completions of each mode, next to a correct one of the same prompt from before distillation."""
    rows = [row for row in _first_seed(study) if row.stage.kind == "classify"]
    return [example for row in rows for example in _failure_modes(row, row.stage, cache)]


def _failure_modes(row: Row, stage: Any, cache: Path) -> list[Example]:
    modes = pq.read_table(cache / stage.folder_name / MODES_FILE).to_pylist()
    failures: list[dict[str, Any]] = []
    for task in dict.fromkeys(failure["task"] for failure in modes):
        for mode in MODES:
            of_mode = [failure for failure in modes if (failure["task"], failure["mode"]) == (task, mode)]
            failures += sorted(of_mode, key=lambda failure: (failure["item_id"], failure["sample"]))[:PROMPTS]
    prompts = {(failure["task"], failure["item_id"]) for failure in failures}
    before, after = (_graded(model, prompts, cache) for model in (stage.before, stage.after))
    examples = []
    for failure in failures:
        prompt = (failure["task"], failure["item_id"])
        failed = next(graded for graded in after[prompt] if graded.rollout.sample == failure["sample"])
        solved = next(graded for graded in before[prompt] if graded.answer == graded.key)
        name = f"{row.method}: {failure['mode'].replace('_', '-')}"
        completions = [_completion("Student, before", solved), _completion(name, failed)]
        examples.append(_example(row.family, failed, completions))
    return examples


def continued_prefixes(study: Study, cache: Path) -> list[Example]:
    """Show the misled student's completion and the continuation from each prefix."""
    return [example for row in _first_seed(study) for example in _prefixes(row, row.stage, cache)]


def _prefixes(row: Row, stage: Any, cache: Path) -> list[Example]:
    continuations = pq.read_table(cache / stage.folder_name / CONTINUATIONS_FILE).to_pylist()
    prompts = [
        (task, item)
        for task in dict.fromkeys(line["task"] for line in continuations)
        for item in sorted({line["item_id"] for line in continuations if line["task"] == task})[:PROMPTS]
    ]
    after = _graded(stage.after, prompts, cache)
    examples = []
    for prompt in prompts:
        of_prompt = [line for line in continuations if (line["task"], line["item_id"]) == prompt]
        for cut_name in dict.fromkeys(line["cut"] for line in of_prompt):
            of_cut = [line for line in of_prompt if line["cut"] == cut_name]
            source = of_cut[0]["source"]
            failed = next(graded for graded in after[prompt] if graded.rollout.sample == source)
            completions = [_completion("Misled", failed)]
            firsts = {line["fraction"]: line for line in reversed(of_cut) if line["source"] == source}
            for fraction, first in sorted(firsts.items()):
                model = f"{row.method}, given {repr(first['prefix']) if fraction else 'nothing'}"
                score = float(first["correct"])
                completions.append({"model": model, "text": cut(first["text"]), "score": score, "stop": ""})
            examples.append(_example(row.family, failed, completions))
    return examples


def _graded(stage: Stage, prompts: Iterable[PromptKey], cache: Path) -> dict[PromptKey, list[Graded]]:
    return by_prompt(read_graded(cache / stage.folder_name / ROLLOUTS, set(prompts)))


def _completion(model: str, graded: Graded) -> Completion:
    rollout = graded.rollout
    return {"model": model, "text": cut(rollout.text), "score": graded.score, "stop": rollout.stop}


def _example(family: str, graded: Graded, completions: list[Completion]) -> Example:
    rollout = graded.rollout
    return {
        "family": family,
        "task": rollout.task,
        "item_id": rollout.item_id,
        "prompt": cut(rollout.prompt),
        "key": graded.key,
        "completions": completions,
    }
