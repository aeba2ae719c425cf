"""Completions of the same prompt side by side: what the numbers look like as text."""

from pathlib import Path

from repro.evaluation.evaluate import Graded, read_graded
from repro.pipeline.bodies import ROLLOUTS
from repro.recipes.study import Study
from repro.report.further_examples import further_examples
from repro.report.result import Completion, Example
from repro.report.text import cut

METHODS = (
    *("Teacher", "Distillable", "Undistillable", "Undistillable (OOD)"),
    *("Student", "Improve", "Misled", "Misled (OOD)", "Misled (CD)"),
)
PROMPTS = 2


def examples(study: Study, cache: Path) -> list[Example]:
    """For each family and task the first prompts, with the first completion of each model: not chosen.

    Of failure modes: the first completions of each mode. None for a study that only reads costs.
    """
    if study.measures in ("failures", "prefixes"):
        return further_examples(study, cache)
    found: list[Example] = []
    if study.measures == "cost":
        return found
    for family in study.families:
        own = [r for r in study.rows if r.family == family and r.seed == study.seeds[0] and r.method in METHODS]
        # a row may stand for a model per task: then each has its own stage
        graded: dict[str, list[Graded]] = {}
        for row in sorted(own, key=lambda r: METHODS.index(r.method)):
            file = cache / row.stage.folder_name / ROLLOUTS
            if file.is_file():
                graded.setdefault(row.method, []).extend(read_graded(file))
        for task in study.tasks:
            firsts = {
                method: {g.rollout.item_id: g for g in some if g.rollout.task == task and g.rollout.sample == 0}
                for method, some in graded.items()
            }
            shared = set.intersection(*(set(own) for own in firsts.values())) if firsts else set()
            for item_id in sorted(shared)[:PROMPTS]:
                found.append(_example(family, task, {method: own[item_id] for method, own in firsts.items()}))
    return found


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
