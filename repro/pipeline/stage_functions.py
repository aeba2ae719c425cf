"""One function per kind of stage: read the input artifacts, call the library, write files into a folder."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.pipeline.completion_functions import FUNCTIONS, WEIGHTS
from repro.pipeline.context import StageContext
from repro.pipeline.stage_inputs import (
    compare_templates,
    count_items,
    model_path,
    opens_in_thought,
    read_items,
    read_tasks,
    reward_model_path,
    skipped_rows,
)
from repro.stages import (
    Calibrate,
    Classify,
    Continue,
    Diagnose,
    Distill,
    Evaluate,
    Sample,
    Stage,
    TrainOutputLayer,
)
from repro.stages.artifact import ROLLOUTS
from repro.stages.references import BaseModelRef
from repro.system.phases import phase
from repro.tasks.task import Item

if TYPE_CHECKING:
    from repro.diagnosis.parts import DiagnosisInput


def function_for(stage: Stage, context: StageContext) -> Callable[[Path], dict[str, Any]]:
    """Return the function that fills the stage's artifact folder and returns its summary."""
    functions: dict[type[Stage], Callable[..., dict[str, Any]]] = {
        Calibrate: _calibrate,
        Sample: _sample,
        Distill: _distill,
        TrainOutputLayer: _train_output_layer,
        Evaluate: _evaluate,
        Diagnose: _diagnose,
        Continue: _continue,
        Classify: _classify,
        **FUNCTIONS,
    }
    function = functools.partial(functions[type(stage)], stage, context)
    return phase("training")(function) if stage.workload.trains else function


def _check_sampler(stage: Sample | Evaluate, context: StageContext, out: Path) -> dict[str, Any]:
    """Measure the gap between the engine's log-probabilities and the model's own."""
    from repro.generation.mismatch import check_rollouts, select_rollouts

    model, is_spread = model_path(stage.model, context.cache), context.resources.tensor_parallel > 1
    with phase("sampler check"):
        rollouts = select_rollouts(out / ROLLOUTS)
        return {"sampler": check_rollouts(model, rollouts, stage.config.temperature, spread=is_spread)}


def sample_completions(
    stage: Sample | Evaluate, items: list[Item], context: StageContext, share: tuple[int, int] = (0, 1)
) -> list[Path]:
    """Sample the stage's completions into files in `context.work`; share (rank, ranks): only this rank's chunks."""
    from repro.generation.sample import sample

    with phase("sampling"):
        return sample(
            stage.config,
            model=model_path(stage.model, context.cache),
            items=items,
            seed=stage.seed,
            work=context.work,
            progress=context.progress,
            share=share,
            tensor_parallel=context.resources.tensor_parallel,
        )


def _calibrate(stage: Calibrate, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.calibration.trainer import calibrate
    from repro.evaluation.task_reward import TaskReward

    in_thought = opens_in_thought(stage.prompts_of or stage.teacher, stage.config.reasoning, context.cache)
    summary = calibrate(
        stage.config,
        teacher=model_path(stage.teacher, context.cache),
        target=model_path(stage.target, context.cache),
        prompts_of=model_path(stage.prompts_of, context.cache) if stage.prompts_of else None,
        matches=context.cache / stage.matches.folder_name if stage.matches else None,
        items=read_items(stage.data),
        task_reward=TaskReward(reward_model_path(stage, context.cache), opens_in_thought=in_thought),
        seed=stage.seed,
        out=out,
        work=context.work,
        progress=context.progress,
        resources=context.training,
    )
    return summary | count_items(stage)


def _sample(stage: Sample, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.generation.rollouts import batches, join_rollouts, token_counts

    join_rollouts(out / ROLLOUTS, sample_completions(stage, read_items(stage.data), context))
    completions, tokens, truncated = 0, 0, 0
    for batch in batches(out / ROLLOUTS, ["token_ids", "stop"]):
        completions += len(batch)
        tokens += sum(token_counts(batch))
        truncated += batch.column("stop").to_pylist().count("length")
    summary = {"completions": completions, "tokens": tokens, "truncated": truncated / completions}
    return summary | count_items(stage) | _check_sampler(stage, context, out)


def _distill(stage: Distill, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.distillation.distill import distill
    from repro.evaluation.task_reward import TaskReward

    in_thought = opens_in_thought(stage.student, stage.config.reasoning, context.cache)
    summary = distill(
        stage.config,
        student=model_path(stage.student, context.cache),
        teacher=model_path(stage.teacher, context.cache),
        items=read_items(stage.data),
        completions=context.cache / stage.samples.folder_name / ROLLOUTS if stage.samples else None,
        weights=context.cache / stage.weights.folder_name / WEIGHTS if stage.weights else None,
        task_reward=TaskReward(
            reward_model_path(stage, context.cache), skips_open=stage.reward_model is None, opens_in_thought=in_thought
        ),
        seed=stage.seed,
        out=out,
        work=context.work,
        progress=context.progress,
        resources=context.training,
    )
    if differs := compare_templates(stage, context.cache):
        summary["warnings"] = summary.get("warnings", {}) | differs
    return summary | count_items(stage)


def _train_output_layer(stage: TrainOutputLayer, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.guards.output_layer import train_output_layer

    summary = train_output_layer(
        stage.config,
        teacher=model_path(stage.teacher, context.cache),
        proxy=model_path(stage.proxy, context.cache),
        items=read_items(stage.data),
        completions=context.cache / stage.samples.folder_name / ROLLOUTS,
        seed=stage.seed,
        out=out,
        work=context.work,
        progress=context.progress,
        resources=context.training,
    )
    return summary | count_items(stage)


def _evaluate(stage: Evaluate, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.evaluate import evaluate, summarise

    tasks, items = read_tasks(stage.data)
    chunks = sample_completions(stage, items, context)
    in_thought = opens_in_thought(stage.model, stage.config.reasoning, context.cache)
    reward_model = reward_model_path(stage, context.cache)
    with phase("grading and writing"):
        summary = summarise(evaluate(items, chunks, reward_model, out / ROLLOUTS, opens_in_thought=in_thought))
    return summary | skipped_rows(tasks) | _check_sampler(stage, context, out)


def measure_diagnosis(stage: Diagnose, context: StageContext, share: tuple[int, int]) -> int:
    """Measure a share of the diagnosis's parts into files in `context.work`; return the number of parts."""
    from repro.diagnosis.measure import measure_share

    source = _diagnosis_input(stage, context)
    return len(measure_share(stage.config, source, work=context.work, progress=context.progress, share=share))


def _diagnose(stage: Diagnose, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.diagnosis.diagnose import diagnose

    source = _diagnosis_input(stage, context)
    return diagnose(stage.config, source, seed=stage.seed, out=out, work=context.work, progress=context.progress)


def _diagnosis_input(stage: Diagnose, context: StageContext) -> "DiagnosisInput":
    from repro.diagnosis.columns import Policy
    from repro.diagnosis.parts import DiagnosisInput

    sampled: dict[Policy, Sample | None] = {"student": stage.on_policy, "teacher": stage.off_policy}
    sources = {name: source for name, source in sampled.items() if source is not None}
    return DiagnosisInput(
        student=model_path(stage.student, context.cache),
        teacher=model_path(stage.teacher, context.cache),
        completions={name: context.cache / source.folder_name / ROLLOUTS for name, source in sources.items()},
        items=read_items(stage.data),
        temperature=stage.on_policy.config.temperature,
        across_tokenizers=stage.across_tokenizers,
        in_thought=frozenset(
            name
            for name, source in sources.items()
            if opens_in_thought(source.model, source.config.reasoning, context.cache)
        ),
    )


def _continue(stage: Continue, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.prefixes import continue_prefixes

    return continue_prefixes(
        stage.prefixes,
        stage.after.config,
        teacher=model_path(stage.teacher, context.cache),
        before=context.cache / stage.before.folder_name / ROLLOUTS,
        after=context.cache / stage.after.folder_name / ROLLOUTS,
        items=read_items(stage.data),
        seed=stage.seed,
        out=out,
        work=context.work,
        progress=context.progress,
        tensor_parallel=context.resources.tensor_parallel,
    )


def _classify(stage: Classify, context: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.classify import classify_failures
    from repro.pipeline.judging import open_judge

    local = model_path(stage.judge, context.cache) if isinstance(stage.judge, BaseModelRef) else None
    judge = open_judge(stage, local, context)
    return classify_failures(
        judge,
        before=context.cache / stage.before.folder_name / ROLLOUTS,
        after=context.cache / stage.after.folder_name / ROLLOUTS,
        out=out,
        progress=context.progress,
        opens_in_thought=opens_in_thought(stage.after.model, stage.after.config.reasoning, context.cache),
    )
