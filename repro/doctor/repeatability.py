"""Repeatability of a model's scores: score the same batch twice, then each sequence by itself."""

from collections.abc import Iterator, Sequence

from repro.doctor.finding import Finding, fail, good, warn
from repro.planner.architectures import architecture
from repro.planner.model_memory import GIB, weights_gib
from repro.planner.placement import USABLE_SHARE
from repro.stages import Stage
from repro.system.gpu_memory import free_gpu_memory
from repro.training.vllm_memory import BFLOAT16

COMPLETIONS = ("12 + 30 = 42. \\boxed{42}", "I think that the answer is 41.", "B", "")
LARGEST_GAP = 0.05
"""ASSUMED: tolerated difference between batches, nats per token: bfloat16 kernels depend on the batch shape."""


def check_scores(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Check every model that only scores in training, each loaded once, over all GPUs if it does not fit on one."""
    gpus = _gpus_gib()
    workloads = [stage.workload for stage in stages if stage.workload.trains]
    names = {workload.frozen.base_model.name for workload in workloads if workload.frozen}
    for name in sorted(names):
        subject = f"scores of {name}"
        try:
            size = weights_gib(architecture(name), BFLOAT16)
            if gpus and size > USABLE_SHARE * sum(gpus):
                yield warn(
                    subject, f"not tried: its {size:.1f} GiB do not fit into the {sum(gpus):.1f} GiB of all GPUs here"
                )
                continue
            again, alone, tokens = _gaps(name, spread=bool(gpus) and size > USABLE_SHARE * gpus[0])
        except Exception as error:  # any library error about a missing or damaged model is a finding
            yield fail(subject, f"cannot score: {type(error).__name__}: {str(error).strip().splitlines()[0][:160]}")
            continue
        finally:
            free_gpu_memory()  # for the next model
        if again > 0:
            yield fail(
                subject, f"scoring the same batch twice differs by {again:.2g} nats: scores are not repeatable here"
            )
        elif alone / tokens > LARGEST_GAP:
            yield warn(
                subject,
                f"a completion scored alone and in a batch differs by {alone / tokens:.2g} nats per token: padding changes the scores",
            )
        else:
            yield good(
                subject, f"repeatable; scores alone and in a batch agree within {alone / tokens:.1g} nats per token"
            )


def _gpus_gib() -> list[float]:
    """Return the GiB of each visible GPU; models are loaded onto the first."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_properties(number).total_memory / GIB for number in range(count)]


def _gaps(name: str, *, spread: bool) -> tuple[float, float, int]:
    """Score the completions three times.

    Args:
        spread: see `models.loading.load_model`.

    Returns:
        Largest difference in a sequence's log-probability between two runs of the same batch, the same between the
        batch and each sequence alone, and the tokens of the longest sequence.
    """
    from transformers.utils import logging
    from trl.trainer.utils import add_fused_lm_head

    from repro.models.chat_tokens import prompt_token_ids
    from repro.models.loading import load_model, load_tokenizer, locate
    from repro.models.scoring import completion_log_prob

    logging.disable_progress_bar()
    location = locate(name)
    tokenizer, model = load_tokenizer(location), load_model(location, spread=spread)
    add_fused_lm_head(model)
    prompts = [prompt_token_ids(tokenizer, f"Question {number}?") for number in range(len(COMPLETIONS))]
    completions = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in COMPLETIONS]
    together, again, alone = (completion_log_prob(model, prompts, completions, batch) for batch in (4, 4, 1))
    tokens = max(map(len, completions))
    return float((together - again).abs().max()), float((together - alone).abs().max()), tokens
