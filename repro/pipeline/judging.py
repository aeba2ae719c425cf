"""The judge of a classification: rules, a model on this machine, or a served one."""

from pathlib import Path

from repro.evaluation.judge import Judge, ModelJudge, RuleJudge, ask_local_model
from repro.pipeline.context import StageContext
from repro.stages import Classify


def open_judge(stage: Classify, model: Path | str | None, context: StageContext) -> Judge:
    """Return the judge that the stage names.

    Args:
        model: folder or hub id of a model on this machine; None for any other judge.
    """
    if stage.judge is None:
        return RuleJudge()
    if stage.judge.kind == "served":
        from repro.evaluation.served_judge import ask_endpoint  # loads openai: half a second of CPU time

        endpoint = stage.judge.endpoint
        ask = ask_endpoint(endpoint, stage.seed, work=context.work, progress=context.progress)
        return ModelJudge(f"{endpoint.model} at {endpoint.url}", ask)
    assert model is not None
    ask = ask_local_model(model, stage.engine, stage.seed, context.resources.tensor_parallel)
    return ModelJudge(stage.judge.name, ask)
