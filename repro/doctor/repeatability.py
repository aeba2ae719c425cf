"""Repeatability of a teacher's scores: the same completions, twice, and in another company."""

from collections.abc import Iterator, Sequence

from repro.doctor.finding import Finding, fail, good, warn
from repro.stages import Stage
from repro.system.gpu_memory import free_gpu_memory

COMPLETIONS = ("12 + 30 = 42. \\boxed{42}", "I think that the answer is 41.", "B", "")
LARGEST_GAP = 0.05
"""ASSUMED: nats per token that another batch may change: bfloat16 kernels differ with the shape of a batch."""


def check_scores(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Every model that scores others' text, each loaded once."""
    workloads = [stage.workload for stage in stages if stage.workload.trains]
    names = {workload.frozen.base_model.name for workload in workloads if workload.frozen}
    for name in sorted(names):
        about = f"scores of {name}"
        try:
            again, alone, tokens = _gaps(name)
        except Exception as error:  # whatever a library says of a missing or damaged model, it is a finding
            yield fail(about, f"cannot score: {type(error).__name__}: {str(error).strip().splitlines()[0][:160]}")
            continue
        finally:
            free_gpu_memory()  # the trial after this wants the GPU for itself
        if again > 0:
            yield fail(about, f"the same batch twice differs by {again:.2g} nats: scores are not repeatable here")
        elif alone / tokens > LARGEST_GAP:
            yield warn(
                about, f"one by one and together differ by {alone / tokens:.2g} nats per token: padding is not inert"
            )
        else:
            yield good(about, f"twice the same; one by one within {alone / tokens:.1g} nats per token")


def _gaps(name: str) -> tuple[float, float, int]:
    """Largest difference of a sequence's log-probability: the same batch again; each alone. And the longest's tokens."""
    from transformers.utils import logging
    from trl.trainer.utils import add_fused_lm_head

    from repro.models.chat_tokens import prompt_token_ids
    from repro.models.loading import load_model, load_tokenizer, locate
    from repro.models.scoring import completion_log_prob

    logging.disable_progress_bar()
    where = locate(name)
    tokenizer, model = load_tokenizer(where), load_model(where)
    add_fused_lm_head(model)
    prompts = [prompt_token_ids(tokenizer, f"Question {number}?") for number in range(len(COMPLETIONS))]
    completions = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in COMPLETIONS]
    together, again, alone = (completion_log_prob(model, prompts, completions, batch) for batch in (4, 4, 1))
    tokens = max(map(len, completions))
    return float((together - again).abs().max()), float((together - alone).abs().max()), tokens
