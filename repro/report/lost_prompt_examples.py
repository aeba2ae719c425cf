"""Completions to read of Figure 4 and of the failure modes: the first of each kind, not chosen."""

from pathlib import Path

import pyarrow.parquet as pq

from repro.evaluation.classify import MODES_FILE
from repro.evaluation.failure_modes import MODES
from repro.evaluation.graded import Graded, by_prompt, read_graded
from repro.evaluation.prefixes import CONTINUATIONS_FILE
from repro.recipes.study import Row, Study
from repro.report.result import Completion, Example
from repro.report.text import cut
from repro.stages import Classify, Continue
from repro.stages.artifact import ROLLOUTS

OF_EACH = 2
"""Examples of each mode, student and task; or prompts of each teacher and task."""


def lost_prompt_examples(study: Study, cache: Path) -> list[Example]:
    """Of the first seed, by item id."""
    found: list[Example] = []
    for row in study.rows:
        if row.seed == study.seeds[0]:
            if isinstance(row.stage, Classify):
                found += _of_modes(row, row.stage, cache)
            elif isinstance(row.stage, Continue):
                found += _of_prefixes(row, row.stage, cache)
    return found


def _of_modes(row: Row, stage: Classify, cache: Path) -> list[Example]:
    modes = pq.read_table(cache / stage.folder_name / MODES_FILE).to_pylist()
    shown = []
    for task in dict.fromkeys(one["task"] for one in modes):
        for mode in MODES:
            own = [one for one in modes if (one["task"], one["mode"]) == (task, mode)]
            shown += sorted(own, key=lambda o: (o["item_id"], o["sample"]))[:OF_EACH]
    prompts = {(one["task"], one["item_id"]) for one in shown}
    before = by_prompt(read_graded(cache / stage.before.folder_name / ROLLOUTS, prompts))
    after = by_prompt(read_graded(cache / stage.after.folder_name / ROLLOUTS, prompts))
    found = []
    for one in shown:
        prompt = (one["task"], one["item_id"])
        failed = next(g for g in after[prompt] if g.rollout.sample == one["sample"])
        right = next(g for g in before[prompt] if g.answer == g.key)
        name = f"{row.method}: {one['mode'].replace('_', '-')}"
        found.append(_example(row.family, failed, [_completion("Student, before", right), _completion(name, failed)]))
    return found


def _of_prefixes(row: Row, stage: Continue, cache: Path) -> list[Example]:
    drawn = pq.read_table(cache / stage.folder_name / CONTINUATIONS_FILE).to_pylist()
    chosen = [
        (task, item)
        for task in dict.fromkeys(one["task"] for one in drawn)
        for item in sorted({one["item_id"] for one in drawn if one["task"] == task})[:OF_EACH]
    ]
    after = by_prompt(read_graded(cache / stage.after.folder_name / ROLLOUTS, chosen))
    found = []
    for prompt in chosen:
        own = [one for one in drawn if (one["task"], one["item_id"]) == prompt]
        source = own[0]["source"]
        failed = next(g for g in after[prompt] if g.rollout.sample == source)
        shown = [_completion("Misled", failed)]
        for fraction in dict.fromkeys(one["fraction"] for one in own):
            first = next(one for one in own if one["fraction"] == fraction and one["source"] == source)
            given = f"given {first['prefix']!r}" if fraction else "given nothing"
            shown.append(
                {
                    "model": f"{row.method}, {given}",
                    "text": cut(first["text"]),
                    "score": float(first["correct"]),
                    "stop": "eos",
                }
            )
        found.append(_example(row.family, failed, shown))
    return found


def _completion(model: str, one: Graded) -> Completion:
    return {"model": model, "text": cut(one.rollout.text), "score": one.score, "stop": one.rollout.stop}


def _example(family: str, one: Graded, completions: list[Completion]) -> Example:
    return {
        "family": family,
        "task": one.rollout.task,
        "item_id": one.rollout.item_id,
        "prompt": cut(one.rollout.prompt),
        "key": one.key,
        "completions": completions,
    }
