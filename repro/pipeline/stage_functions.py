"""What each stage does: read the artifacts of its inputs, call one room of the library, write files into its folder."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.endpoint import Endpoint
from repro.models.loading import locate, revision_of
from repro.pipeline.context import StageContext
from repro.stages import (
    BaseModelRef,
    Calibrate,
    Classify,
    Continue,
    Diagnose,
    Distill,
    Evaluate,
    Sample,
    ServedModelRef,
    Stage,
    TaskData,
)
from repro.stages.artifact import MODEL, ROLLOUTS
from repro.tasks import registry
from repro.tasks.own_file import hash_data_file
from repro.tasks.task import Item


def function_for(stage: Stage, place: StageContext) -> Callable[[Path], dict[str, Any]]:
    """The function that fills the stage's artifact folder and returns its summary."""
    bodies: dict[type[Stage], Callable[..., dict[str, Any]]] = {
        Calibrate: _calibrate,
        Sample: _sample,
        Distill: _distill,
        Evaluate: _evaluate,
        Diagnose: _diagnose,
        Continue: _continue,
        Classify: _classify,
    }
    body = bodies[type(stage)]
    return lambda out: body(stage, place, out) | _record_of(stage, place, out)


def _record_of(stage: Stage, place: StageContext, out: Path) -> dict[str, Any]:
    """What every summary tells besides: items that each task had (it may have fewer than were asked), and the sampler's gap."""
    told: dict[str, Any] = {}
    if isinstance(stage, Calibrate | Sample | Distill):
        told["items"] = dict(Counter(item.task for item in read_items(stage.data)))
    if isinstance(stage, Sample | Evaluate) and stage.config.engine == "vllm":
        from repro.generation.mismatch import check_rollouts, select_rollouts

        some, spread = select_rollouts(out / ROLLOUTS), place.resources.tensor_parallel > 1
        model = model_path(stage.model, place.cache)
        told["sampler"] = check_rollouts(model, some, stage.config.temperature, spread=spread)
    return told


def model_path(model: BaseModelRef | Calibrate | Distill, cache: Path) -> Path | str:
    """Folder (or hub id) of a model input. A base model must still be what the plan saw."""
    if isinstance(model, Stage):
        return cache / model.folder_name / MODEL
    if revision_of(model.name) != model.revision:
        raise InputError(f"model {model.name} has changed since this run was planned. Run again.")
    return locate(model.name)


def _reward_model(stage: Calibrate | Distill | Evaluate, cache: Path) -> Path | str | None:
    return model_path(stage.reward_model, cache) if stage.reward_model else None


def read_items(data: tuple[TaskData, ...]) -> list[Item]:
    """All items of all tasks, in order. A file must still be what the plan saw."""
    for one in data:
        if one.file is not None and hash_data_file(one.file) != one.sha256:
            raise InputError(f"data {one.file} has changed since this run was planned. Run again.")
    items = [
        item
        for one in data
        for item in registry.get(one.task, data=one.file, revision=one.revision).items(one.split, one.n, one.seed)
    ]
    if not items:
        raise InputError(f"no items in {', '.join(one.task for one in data)}: ask for at least one")
    return items


def sample_completions(
    stage: Sample | Evaluate, items: list[Item], place: StageContext, share: tuple[int, int] = (0, 1)
) -> list[Path]:
    """The stage's completions, as files in `place.work`; of a share (which, of how many) only those that it draws."""
    from repro.generation.sample import sample

    return sample(
        stage.config,
        model=model_path(stage.model, place.cache),
        items=items,
        seed=stage.seed,
        work=place.work,
        progress=place.progress,
        share=share,
        tensor_parallel=place.resources.tensor_parallel,
    )


def _calibrate(stage: Calibrate, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.calibration.trainer import calibrate
    from repro.evaluation.task_reward import TaskReward

    return calibrate(
        stage.config,
        teacher=model_path(stage.teacher, place.cache),
        target=model_path(stage.target, place.cache),
        items=read_items(stage.data),
        task_reward=TaskReward(_reward_model(stage, place.cache)),
        seed=stage.seed,
        out=out,
        work=place.work,
        progress=place.progress,
        resources=place.training,
    )


def _sample(stage: Sample, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.generation.rollouts import batches, join_rollouts, token_counts

    join_rollouts(out / ROLLOUTS, sample_completions(stage, read_items(stage.data), place))
    completions, tokens, truncated = 0, 0, 0
    for batch in batches(out / ROLLOUTS, ["token_ids", "stop"]):
        completions += len(batch)
        tokens += sum(token_counts(batch))
        truncated += batch.column("stop").to_pylist().count("length")
    return {"completions": completions, "tokens": tokens, "truncated": truncated / completions}


def _distill(stage: Distill, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.distillation.distill import distill
    from repro.evaluation.task_reward import TaskReward

    return distill(
        stage.config,
        student=model_path(stage.student, place.cache),
        teacher=model_path(stage.teacher, place.cache),
        items=read_items(stage.data),
        completions=place.cache / stage.samples.folder_name / ROLLOUTS if stage.samples else None,
        task_reward=TaskReward(_reward_model(stage, place.cache)),
        seed=stage.seed,
        out=out,
        work=place.work,
        progress=place.progress,
        resources=place.training,
    )


def _evaluate(stage: Evaluate, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.evaluate import evaluate, summarise

    items = read_items(stage.data)
    chunks = sample_completions(stage, items, place)
    return summarise(evaluate(items, chunks, _reward_model(stage, place.cache), out / ROLLOUTS))


def _diagnose(stage: Diagnose, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.diagnosis.diagnose import diagnose

    sampled = {"student": stage.on_policy, "teacher": stage.off_policy}
    return diagnose(
        stage.config,
        student=model_path(stage.student, place.cache),
        teacher=model_path(stage.teacher, place.cache),
        completions={who: place.cache / one.folder_name / ROLLOUTS for who, one in sampled.items() if one},  # type: ignore[misc]
        items=read_items(stage.data),
        temperature=stage.on_policy.config.temperature,
        across_tokenizers=stage.across_tokenizers,
        seed=stage.seed,
        out=out,
        progress=place.progress,
    )


def _continue(stage: Continue, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.prefixes import continue_prefixes

    return continue_prefixes(
        stage.prefixes,
        stage.after.config,
        teacher=model_path(stage.teacher, place.cache),
        before=place.cache / stage.before.folder_name / ROLLOUTS,
        after=place.cache / stage.after.folder_name / ROLLOUTS,
        items=read_items(stage.data),
        seed=stage.seed,
        out=out,
        work=place.work,
        progress=place.progress,
        tensor_parallel=place.resources.tensor_parallel,
    )


def _classify(stage: Classify, place: StageContext, out: Path) -> dict[str, Any]:
    from repro.evaluation.classify import classify_failures
    from repro.evaluation.judge import Judge, ModelJudge, RuleJudge, ask_local_model
    from repro.evaluation.served_judge import ask_endpoint

    judge: Judge = RuleJudge()
    if isinstance(stage.judge, ServedModelRef):
        where = Endpoint(stage.judge.url, stage.judge.name)
        asked = ask_endpoint(where, stage.seed, work=place.work, progress=place.progress)
        judge = ModelJudge(f"{where.model} at {where.url}", asked)
    elif stage.judge is not None:
        judge = ModelJudge(
            stage.judge.name, ask_local_model(model_path(stage.judge, place.cache), stage.engine, stage.seed)
        )
    return classify_failures(
        judge,
        before=place.cache / stage.before.folder_name / ROLLOUTS,
        after=place.cache / stage.after.folder_name / ROLLOUTS,
        out=out,
        progress=place.progress,
    )
