"""The functions of the stages that change, grade and score stored completions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.pipeline.context import StageContext
from repro.pipeline.stage_inputs import model_path, opens_in_thought, read_items, reward_model_path
from repro.stages import Completions, Grade, Guarded, Mix, Rewrite, Score, ScoreAnswers, Select, Stage, Weigh
from repro.stages.artifact import ROLLOUTS
from repro.system.phases import phase

SCORES, WEIGHTS = "scores.parquet", "weights.parquet"


def guarded(stage: Guarded, context: StageContext, out: Path) -> dict[str, Any]:
    """Sample through a guard."""
    from repro.generation.rollouts import join_rollouts, stream_rollouts
    from repro.generation.sample import sample
    from repro.guards.engine import GuardedEngine

    model, proxy = (model_path(source, context.cache) for source in (stage.model, stage.proxy))
    items = read_items(stage.data)

    def open_engine() -> GuardedEngine:
        stored = [context.cache / stage.holdout.folder_name / ROLLOUTS] if stage.holdout else []
        holdout = [(rollout.prompt_ids, rollout.token_ids) for rollout in stream_rollouts(stored) if rollout.token_ids]
        return GuardedEngine(stage.guard, model, proxy, holdout)

    with phase("sampling"):
        chunks = sample(
            stage.config,
            model=model,
            items=items,
            seed=stage.seed,
            work=context.work,
            progress=context.progress,
            open_other=open_engine,
        )
    join_rollouts(out / ROLLOUTS, chunks)
    rollouts = [(len(rollout.token_ids), rollout.stop) for rollout in stream_rollouts([out / ROLLOUTS])]
    return {
        "completions": len(rollouts),
        "tokens": sum(tokens for tokens, _ in rollouts),
        "truncated": sum(stop == "length" for _, stop in rollouts) / len(rollouts),
    }


def select(stage: Select, context: StageContext, out: Path) -> dict[str, Any]:
    """Select completions."""
    from repro.distillation.selection import Source, select_completions

    def source(completions: Completions) -> Source:
        in_thought = opens_in_thought(completions.model, completions.config.reasoning, context.cache)
        return Source(context.cache / completions.folder_name / ROLLOUTS, in_thought)

    return select_completions(
        stage.selection,
        source(stage.completions),
        out / ROLLOUTS,
        voters=source(stage.voters) if stage.voters else None,
        scores=context.cache / stage.scores.folder_name / SCORES if stage.scores else None,
        seed=stage.seed,
    )


def mix(stage: Mix, context: StageContext, out: Path) -> dict[str, Any]:
    """Mix completions of two sources."""
    from repro.distillation.selection import mix_completions
    from repro.errors import InputError
    from repro.models.chat_tokens import is_same_tokenizer
    from repro.models.loading import load_tokenizer

    models = [model_path(source.model, context.cache) for source in (stage.completions, stage.supplement)]
    if not is_same_tokenizer(*map(load_tokenizer, models)):
        raise InputError(
            f"supplementing {models[0]} with {models[1]}: their tokenizers differ, so their tokens cannot be mixed. Name a"
            " supplement of the same family."
        )
    main, supplement = (
        context.cache / source.folder_name / ROLLOUTS for source in (stage.completions, stage.supplement)
    )
    return mix_completions(main, supplement, out / ROLLOUTS, share=stage.share, seed=stage.seed)


def rewrite(stage: Rewrite, context: StageContext, out: Path) -> dict[str, Any]:
    """Let a text guard rewrite completions."""
    from repro.guards.rewriting import rewrite_completions
    from repro.guards.served import ServedRewriter

    source, items = context.cache / stage.completions.folder_name / ROLLOUTS, read_items(stage.data)
    in_thought = opens_in_thought(stage.model, stage.config.reasoning, context.cache)
    model = model_path(stage.model, context.cache)
    with phase("rewriting"):
        if not isinstance(stage.guard, ServedRewriter):
            return rewrite_completions(
                stage.guard, source, out / ROLLOUTS, model=model, items=items, opens_in_thought=in_thought
            )
        from repro.guards.served_rewriting import rewrite_by_model

        return rewrite_by_model(
            stage.guard,
            source,
            out / ROLLOUTS,
            model=model,
            items=items,
            opens_in_thought=in_thought,
            seed=stage.seed,
            work=context.work,
            progress=context.progress,
        )


def score(stage: Score | ScoreAnswers, context: StageContext, out: Path) -> dict[str, Any]:
    """Score completions by a model."""
    from repro.generation.scores import score_completions

    source, per_item = (stage.answers, stage.per_item) if isinstance(stage, ScoreAnswers) else (stage.completions, None)
    return score_completions(
        context.cache / source.folder_name / ROLLOUTS,
        model=model_path(stage.model, context.cache),
        sampler=model_path(source.model, context.cache),
        reasoning=source.config.reasoning,
        per_item=per_item,
        out=out / SCORES,
        work=context.work,
        progress=context.progress,
    )


def weigh(stage: Weigh, context: StageContext, out: Path) -> dict[str, Any]:
    """Weigh completions for a student."""
    from repro.distillation.weighing import weigh_completions

    source = stage.completions
    return weigh_completions(
        stage.config,
        context.cache / source.folder_name / ROLLOUTS,
        holdout=context.cache / stage.holdout.folder_name / ROLLOUTS,
        model=model_path(stage.model, context.cache),
        sampler=model_path(source.model, context.cache),
        reasoning=source.config.reasoning,
        out=out / WEIGHTS,
        work=context.work,
        progress=context.progress,
    )


def grade(stage: Grade, context: StageContext, out: Path) -> dict[str, Any]:
    """Grade stored completions."""
    from repro.evaluation.evaluate import evaluate, summarise

    in_thought = opens_in_thought(stage.model, stage.config.reasoning, context.cache)
    stored = context.cache / stage.completions.folder_name / ROLLOUTS
    with phase("grading and writing"):
        return summarise(
            evaluate(
                read_items(stage.data),
                [stored],
                reward_model_path(stage, context.cache),
                out / ROLLOUTS,
                opens_in_thought=in_thought,
            )
        )


FUNCTIONS: dict[type[Stage], Callable[..., dict[str, Any]]] = {
    Guarded: guarded,
    Select: select,
    Mix: mix,
    Rewrite: rewrite,
    Score: score,
    ScoreAnswers: score,
    Grade: grade,
    Weigh: weigh,
}
