"""Completions of the same prompt side by side: what the numbers look like as text."""

from pathlib import Path

from repro.evaluation.evaluate import Graded, read_graded
from repro.pipeline.bodies import ROLLOUTS
from repro.recipes.study import Study
from repro.tables.render import markdown_table

METHODS = ("Teacher", "Distillable", "Undistillable", "Student", "Improve", "Misled")
PROMPTS = 2


def examples(study: Study, cache: Path) -> str:
    """A Markdown section: for each task the first prompts, with the first completion of each model."""
    lines = ["# Completions side by side", "", "The first completion of the first prompts, not chosen.", ""]
    for family in study.families:
        rows = {r.method: r for r in study.rows if r.family == family and r.seed == study.seeds[0]}
        graded = {
            method: read_graded(cache / rows[method].stage.folder_name / ROLLOUTS)
            for method in METHODS
            if method in rows
        }
        for task in study.tasks:
            for item_id in sorted({g.rollout.item_id for g in graded["Teacher"] if g.rollout.task == task})[:PROMPTS]:
                lines += [*_prompt(family, task, item_id, graded), ""]
    return "\n".join(lines)


def _prompt(family: str, task: str, item_id: str, graded: dict[str, list[Graded]]) -> list[str]:
    firsts = {
        method: next(g for g in some if (g.rollout.task, g.rollout.item_id, g.rollout.sample) == (task, item_id, 0))
        for method, some in graded.items()
    }
    teacher = firsts["Teacher"]
    key = f", key `{teacher.key}`" if teacher.key else ""
    rows = [
        {"model": method, "completion": f"`{g.rollout.text[:600]}`", "score": f"{g.score:.2f}", "stop": g.rollout.stop}
        for method, g in firsts.items()
    ]
    prompt = " ".join(teacher.rollout.prompt.split())
    return [f"**{family}, {task}**: `{prompt}`{key}", "", *markdown_table(rows)]
