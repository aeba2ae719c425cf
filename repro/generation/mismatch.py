"""Compare a sampler's log-probabilities with the trainer's forward pass, to raise an alarm on stale or wrong weights.

vLLM uses bfloat16 and other kernels, which causes a small gap; weights that never arrived, a different template or a
truncated vocabulary cause a far larger one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from repro.generation.rollouts import Rollout, batches, stream_rollouts, token_counts
from repro.models.loading import load_model
from repro.models.scoring import token_log_probs

ALARM = 0.1
"""ASSUMED: nats per token. In bfloat16 the mean gap is 0.001 to 0.02; weights from another step give more."""
COMPARED_COMPLETIONS = 4
"""The gap is measured on every token, so a few completions suffice."""


def compare_log_probs(sampler: Sequence[Sequence[float]], trainer: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Compare the log-probabilities of the same tokens.

    Args:
        sampler, trainer: for each completion, the log-probabilities of its tokens, nats.

    Returns:
        gap: mean absolute difference; largest: that of the worst token (nats); tokens; alarm: a message, or None.
    """
    differences = [
        (torch.tensor(list(sampled), dtype=torch.float64) - scored).abs() for sampled, scored in zip(sampler, trainer)
    ]
    gaps = torch.cat([*differences, torch.zeros(0, dtype=torch.float64)])
    if not len(gaps):
        return {"gap": 0.0, "largest": 0.0, "tokens": 0, "alarm": None}
    gap, largest = float(gaps.mean()), float(gaps.max())
    return {"gap": gap, "largest": largest, "tokens": len(gaps), "alarm": mismatch_alarm(gap)}


def mismatch_alarm(gap: float) -> str | None:
    """Return a message if the gap is NaN or too large to be explained by precision, else None."""
    if gap <= ALARM:
        return None
    return (
        f"the sampler's and the trainer's log-probabilities differ by {gap:.3f} nats per token on average (alarm above"
        f" {ALARM}): the sampler may have used different weights"
    )


def select_rollouts(path: Path) -> list[Rollout]:
    """Return a few non-empty rollouts, spread over a file."""
    counts = [count for batch in batches(path, ["token_ids"]) for count in token_counts(batch)]
    nonempty = [number for number, count in enumerate(counts) if count]
    return list(
        stream_rollouts([path], nonempty[:: max(1, len(counts) // COMPARED_COMPLETIONS)][:COMPARED_COMPLETIONS])
    )


def check_rollouts(
    model: Path | str, rollouts: Sequence[Rollout], temperature: float, *, spread: bool = False
) -> dict[str, Any]:
    """Rescore a few rollouts with a forward pass, after the engine has freed its memory.

    Args:
        spread: see `models.loading.load_model`.
    """
    from trl.trainer.utils import add_fused_lm_head

    scorer = load_model(model, spread=spread)
    add_fused_lm_head(scorer, temperature=temperature)
    scores = token_log_probs(
        scorer, [rollout.prompt_ids for rollout in rollouts], [rollout.token_ids for rollout in rollouts], 1
    )
    return compare_log_probs([rollout.log_probs for rollout in rollouts], scores)
