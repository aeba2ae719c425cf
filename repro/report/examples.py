"""Completions of the same prompt side by side: what the numbers look like as text."""

from pathlib import Path

from repro.evaluation.graded import Graded, PromptKey, read_graded
from repro.generation.rollouts import stream_rows
from repro.recipes.study import Study
from repro.report.lost_prompt_examples import lost_prompt_examples
from repro.report.result import Completion, Example
from repro.report.text import cut
from repro.stages.artifact import ROLLOUTS

METHODS = (
    *("Teacher", "Distillable", "Undistillable", "Undistillable (OOD)"),
    *("Student", "Improve", "Misled", "Misled (OOD)", "Misled (CD)"),
)
PROMPTS = 2


def collect_examples(study: Study, cache: Path) -> list[Example]:
    """For each family and task the first prompts, with the first completion of each model: not chosen.

    Of failure modes: the first completions of each mode. None for a study that only reads costs.
    """
    if study.name in ("failure-modes", "figure4"):
        return lost_prompt_examples(study, cache)
    found: list[Example] = []
    if study.name == "table5":
        return found
    for family in study.families:
        own = [r for r in study.rows if r.family == family and r.seed == study.seeds[0] and r.method in METHODS]
        # a row may stand for a model per task: then each has its own stage
        files: dict[str, list[Path]] = {}
        for row in sorted(own, key=lambda r: METHODS.index(r.method)):
            file = cache / row.stage.folder_name / ROLLOUTS
            if file.is_file():
                files.setdefault(row.method, []).append(file)
        shared = set.intersection(*map(_prompts, files.values())) if files else set()
        chosen = [prompt for task in study.tasks for prompt in sorted(p for p in shared if p[0] == task)[:PROMPTS]]
        firsts = {method: _firsts(some, chosen) for method, some in files.items()}
        for prompt in chosen:
            found.append(_example(family, prompt[0], {method: own[prompt] for method, own in firsts.items()}))
    return found


def _prompts(files: list[Path]) -> set[PromptKey]:
    """Those with a first completion."""
    rows = (row for file in files for row in stream_rows(file, ["task", "item_id", "sample"]))
    return {(row["task"], row["item_id"]) for row in rows if row["sample"] == 0}


def _firsts(files: list[Path], prompts: list[PromptKey]) -> dict[PromptKey, Graded]:
    return {g.prompt: g for file in files for g in read_graded(file, prompts) if g.rollout.sample == 0}


def _example(family: str, task: str, firsts: dict[str, Graded]) -> Example:
    one = next(iter(firsts.values()))
    completions: list[Completion] = [
        {"model": method, "text": cut(g.rollout.text), "score": g.score, "stop": g.rollout.stop}
        for method, g in firsts.items()
    ]
    return {
        "family": family,
        "task": task,
        "item_id": one.rollout.item_id,
        "prompt": cut(one.rollout.prompt),
        "key": one.key,
        "completions": completions,
    }
