"""Rehearse a study: all of its stages, with a miniature of each model and few items, tokens and steps.

It shows, in minutes and before any GPU-hour is spent, that every stage, the engines, the data sets, the tokenizers and
the cluster work, down to the verdicts and the page. Its numbers mean nothing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from repro.errors import InputError
from repro.models.loading import is_toy_model, load_tokenizer, locate
from repro.models.miniature import SIZES, make_miniature
from repro.pipeline.preflight import chat_models, check_access, check_models, check_pairs, check_prompts
from repro.pipeline.stage_inputs import read_items
from repro.planner.fit import placements
from repro.planner.placement import Cards
from repro.planner.resources import Layout, Resources
from repro.recipes.catalog import plan
from repro.recipes.shared_stages import base_model
from repro.recipes.study import RowStage, Study
from repro.stages import BaseModelRef, Stage, TaskData

FOLDER = "rehearsal"
"""Below the results folder: miniatures, cached stages and results of rehearsals."""
TOKENS = 32
"""Longest completion. A lesson takes one to two dozen tokens."""
METHODS = ("sft", "gkd_fkl", "gkd_rkl")
FEW = (
    "train_items=8",
    "test_items=4",
    "calibration.steps=2",
    "calibration.prompts_per_step=4",
    "calibration.group_size=4",
    "teacher_sampling.completions_per_prompt=2",
    "evaluation.completions_per_prompt=4",
    *(f"{method}.{count}" for method in METHODS for count in ("steps=2", "sequences_per_step=8")),
    *(f"{part}.learning_rate=0.001" for part in ("calibration", *METHODS)),  # two steps should move a miniature
    *(f"{part}.max_completion_tokens={TOKENS}" for part in ("calibration", "teacher_sampling", "evaluation", *METHODS)),
    "diagnosis.gradient_prompts=2",
    f"diagnosis.gradient_tokens={TOKENS}",
    "diagnosis.resamples=100",
    "prefixes.min_tokens=1",
    "prefixes.per_prompt=1",
    "prefixes.continuations=2",
    "matrix.own_completions=4",
)
"""Counts of a rehearsal, whatever the study's own."""
LONGEST_KEY = 6
"""Characters of the longest answer that a miniature learns."""


def rehearsal_of(study: Study, out: Path, *, has_gpu: bool, console: Console) -> Study:
    """Return the study with miniatures in place of its models, which are made first, and few of everything.

    Args:
        study: the study as it would run.
        out: the rehearsals' folder; gets the miniatures, in models/.
        has_gpu: without one, transformers samples unless the user names another engine.

    Raises:
        InputError: a model or data set cannot be read, or no miniature can be made of a model.
    """
    if study.scale == "toy":
        raise InputError(
            "--rehearse: the toy scale needs none, it runs in minutes. Name the scale: --scale small or paper"
        )
    _check_inputs(study.stages())
    few = (*study.assignments, *FEW) if has_gpu else ("engine=transformers", *study.assignments, *FEW)
    short = plan(
        study.name,
        scale=study.scale,
        families=study.families,
        seeds=len(study.seeds),
        first_seed=study.seeds[0],
        assignments=few,
    )
    miniatures = _make_miniatures(short.stages(), out / "models", console)
    replaced: dict[str, Stage] = {}
    rows = tuple(
        replace(row, stage=cast(RowStage, _with_models(row.stage, miniatures, replaced))) for row in short.rows
    )
    return replace(short, rows=rows, assignments=study.assignments, is_rehearsal=True)


def planned_layouts(study: Study, rehearsed: Study, resources: Resources, cards: Cards) -> dict[str, Layout]:
    """Return the layouts that the plan gives the study's own stages, by the fingerprints of the stages rehearsing them.

    Stages that would not fit on these GPUs are left out: the size of their miniatures decides.

    Args:
        study: the study as it would run.
        rehearsed: its `rehearsal_of`.
        resources: those of the run.
        cards: the GPUs of this machine, or of a Slurm job.
    """
    rehearsals: dict[str, str] = {}
    for row, rehearsed_row in zip(study.rows, rehearsed.rows, strict=True):
        _match(row.stage, rehearsed_row.stage, rehearsals)
    stages = study.stages()
    return {
        rehearsals[stage.fingerprint]: _of_miniature(placement.layout)
        for stage, placement in zip(stages, placements(study, stages, resources, cards), strict=True)
        if placement.fits and stage.workload.uses_gpu
    }


def _of_miniature(layout: Layout) -> Layout:
    """Return the layout with no more GPUs per copy than share a miniature's heads evenly."""
    copies, heads = layout.ranks // layout.tensor_parallel, SIZES["num_attention_heads"]
    spread = max(n for n in range(1, heads + 1) if heads % n == 0 and n <= layout.tensor_parallel)
    return replace(layout, tensor_parallel=spread, ranks=copies * spread)


def _match(stage: Stage, rehearsed: Stage, rehearsals: dict[str, str]) -> None:
    """Add the fingerprints of a stage and its inputs -> those of the stages that rehearse them."""
    rehearsals[stage.fingerprint] = rehearsed.fingerprint
    for needed, rehearsed_input in zip(stage.inputs(), rehearsed.inputs(), strict=True):
        _match(needed, rehearsed_input, rehearsals)


def result_name(study: Study) -> str:
    """Return the name of a rehearsal's result: study, scale, and a hash of settings, seeds and families."""
    content = [study.settings, study.seeds, study.families]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
    return f"{study.name}-{study.scale}-{digest}"


def _check_inputs(stages: Sequence[Stage]) -> None:
    """Check the models and prompts of the study itself as a run does: a miniature reads shorter completions.

    Raises:
        InputError: as `pipeline.preflight.check_inputs`, but for the engine.
    """
    check_access(stages)
    check_models(stages)
    check_pairs(stages)
    check_prompts(stages)


def _with_models(stage: Stage, models: Mapping[str, BaseModelRef], replaced: dict[str, Stage]) -> Stage:
    """Return a stage that reads other models, as do the stages below it.

    Args:
        models: name of a model -> its replacement.
        replaced: fingerprint -> the stages that have been replaced so far; added to.
    """
    if stage.fingerprint not in replaced:
        update: dict[str, Any] = {}
        for name in type(stage).model_fields:
            value = getattr(stage, name)
            if isinstance(value, BaseModelRef):
                update[name] = models.get(value.name, value)
            elif isinstance(value, Stage):
                update[name] = _with_models(value, models, replaced)
        replaced[stage.fingerprint] = stage.model_copy(update=update)
    return replaced[stage.fingerprint]


def _make_miniatures(stages: Sequence[Stage], folder: Path, console: Console) -> dict[str, BaseModelRef]:
    """Make the miniatures that are missing; return model -> its miniature. Models of the embedded world are small as they are."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    scorers = {model.name for stage in stages if (model := getattr(stage, "reward_model", None))}
    reasoning = {model.name: switch for model, switch in chat_models(stages).items()}
    names = sorted(name for name in {*scorers, *reasoning} if not is_toy_model(name))
    answers = _answers(stages)
    miniatures = {}
    for number, name in enumerate(names, 1):
        console.print(f"miniature of {name} ({number} of {len(names)})", highlight=False, soft_wrap=True)
        is_scorer = name in scorers
        made = make_miniature(
            name,
            folder,
            [] if is_scorer else _lessons(name, answers, reasoning[name]),
            reasoning=reasoning.get(name, True),
            is_reward_model=is_scorer,
        )
        miniatures[name] = base_model(str(made))
    return miniatures


def _answers(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """Return (question, short answer) of the items that the stages read."""
    data: dict[TaskData, None] = dict.fromkeys(part for stage in stages for part in stage.data)
    items = [item for part in data for item in read_items((part,))]
    keyed = [(item.prompt, item.key) for item in items if item.key and len(item.key) <= LONGEST_KEY]
    return keyed or [(item.prompt, "yes") for item in items]


def _lessons(name: str, answers: Sequence[tuple[str, str]], reasoning: bool) -> list[tuple[str, str]]:
    """Return (question, completion): a sentence, and the answer in the form that is graded; after a thought where there are any."""
    from repro.evaluation.thoughts import opens_in_thought

    source = locate(name)
    opening, closing = "We look, and see. So: ", ""
    if opens_in_thought(source, reasoning=reasoning):
        opening, closing = "So\n", "</think>\n\n"
    elif reasoning and "</think>" in load_tokenizer(source).get_vocab():
        opening, closing = "<think>\nSo\n", "</think>\n\n"
    return [(question, f"{opening}{closing}\\boxed{{{key}}}") for question, key in answers]
