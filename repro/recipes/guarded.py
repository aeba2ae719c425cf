"""What a guarded teacher serves: model, completions and graded answers."""

from repro.errors import InputError
from repro.generation.config import SamplingConfig
from repro.guards.base import Guard, ModelGuard, SamplerGuard, TextGuard
from repro.models.endpoint import is_endpoint
from repro.recipes.shared_stages import Pair, base_model, reward_model_of, task_data
from repro.stages import Completions, Evaluate, Grade, Guarded, ModelInput, Rewrite, Sample, TaskData
from repro.tasks.task import Split

SEQUENCES = 16
"""Completions sampled at once from a guard's distribution where vLLM was configured: kernel launches dominate a step,
whatever its batch size. ASSUMED: weights and caches of teacher and proxies must fit on a 24 GB card."""


def check_guard(pair: Pair, guard: Guard) -> None:
    """Refuse a guard that reads the weights of a teacher behind a server.

    Raises:
        InputError: it does.
    """
    if is_endpoint(pair.models.teacher) and guard.needs_weights:
        raise InputError(
            f"guard '{guard.label}' needs the teacher's weights, and {pair.models.teacher} is a model behind a server: name"
            " a guard that does not (none, answer-only), or the model itself"
        )


def served_model(pair: Pair, guard: Guard) -> ModelInput:
    """Return the model being served: the teacher, or the model the guard trains in its place."""
    if not isinstance(guard, ModelGuard):
        return pair.teacher
    model: ModelInput = guard.train(pair)
    return model


def served_completions(pair: Pair, guard: Guard, split: Split, config: SamplingConfig) -> Completions:
    """Sample what the guarded teacher outputs for the items of a split."""
    data = task_data(pair.settings, split)
    if isinstance(guard, SamplerGuard):
        return _guarded(pair, guard, data, config)
    sampled = Sample(model=served_model(pair, guard), data=data, config=config, seed=pair.seed)
    if isinstance(guard, TextGuard):
        return Rewrite(completions=sampled, guard=guard, seed=pair.seed)
    return sampled


def _guarded(pair: Pair, guard: SamplerGuard, data: tuple[TaskData, ...], config: SamplingConfig) -> Guarded:
    """Sample from the guard; the calibration target is the proxy of the thief's student, as in the knob."""
    return Guarded(
        model=pair.teacher,
        proxy=base_model(pair.models.target),
        guard=guard,
        holdout=pair.traces(pair.teacher) if guard.reads_holdout else None,
        data=data,
        config=_sampled_by_transformers(config),
        seed=pair.seed,
    )


def _sampled_by_transformers(config: SamplingConfig) -> SamplingConfig:
    """Return the configuration with small batches if it was meant for vLLM, which has a paged cache."""
    if config.engine == "transformers":
        return config
    sequences = max(SEQUENCES, config.completions_per_prompt)
    return config.model_copy(update={"engine": "transformers", "batch_sequences": sequences})


def served_answers(pair: Pair, guard: Guard) -> Evaluate | Grade:
    """Grade what an honest user of the guarded teacher gets on the held-out items."""
    if not isinstance(guard, TextGuard | SamplerGuard):
        return pair.evaluate(served_model(pair, guard))
    completions = served_completions(pair, guard, "test", pair.settings.evaluation)
    return Grade(completions=completions, reward_model=reward_model_of(pair.settings), seed=pair.seed)
