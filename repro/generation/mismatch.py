"""How far a sampler's log-probabilities are from the trainer's own forward: the alarm for stale or wrong weights.

vLLM computes in bfloat16 and with other kernels. That costs a little; weights that never arrived, another template or
a cut-off vocabulary cost far more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from repro.generation.rollouts import Rollout, batches, stream_rollouts, token_counts
from repro.models.loading import load_model
from repro.models.scoring import token_log_probs

ALARM = 0.1
"""ASSUMED: nats per token. Served in bfloat16 the mean gap is 0.001 to 0.02; the weights of another step give more."""
COMPARED_COMPLETIONS = 4
"""Completions that are compared: the gap is of every token, so a few suffice."""


def compare_log_probs(sampler: Sequence[Sequence[float]], trainer: Sequence[torch.Tensor]) -> dict[str, Any]:
    """The gap of the same tokens' log-probabilities.

    Args:
        sampler, trainer: per completion, of each of its tokens; nats.

    Returns:
        gap: mean absolute difference, largest: the worst token's (nats); tokens; alarm: words, or None.
    """
    gaps = [(torch.tensor(list(one), dtype=torch.float64) - other).abs() for one, other in zip(sampler, trainer)]
    each = torch.cat([*gaps, torch.zeros(0, dtype=torch.float64)])
    if not len(each):
        return {"gap": 0.0, "largest": 0.0, "tokens": 0, "alarm": None}
    gap, largest = float(each.mean()), float(each.max())
    return {"gap": gap, "largest": largest, "tokens": len(each), "alarm": mismatch_alarm(gap)}


def mismatch_alarm(gap: float) -> str | None:
    """Words where the gap is too large to be another precision's; not-a-number is."""
    if gap <= ALARM:
        return None
    return (
        f"the sampler's log-probabilities are {gap:.3f} nats per token from the trainer's (alarm above {ALARM}): it may"
        " have drawn from other weights than it was told"
    )


def select_rollouts(path: Path) -> list[Rollout]:
    """A few rollouts of a file, spread over it; none of them empty."""
    counts = [count for batch in batches(path, ["token_ids"]) for count in token_counts(batch)]
    filled = [number for number, count in enumerate(counts) if count]
    return list(stream_rollouts([path], filled[:: max(1, len(counts) // COMPARED_COMPLETIONS)][:COMPARED_COMPLETIONS]))


def check_rollouts(
    model: Path | str, rollouts: Sequence[Rollout], temperature: float, *, spread: bool = False
) -> dict[str, Any]:
    """Score a few rollouts again by a forward pass; to be called when the engine has freed its memory.

    Args:
        spread: one GPU does not hold the model (`models.load_model`).
    """
    from trl.trainer.utils import add_fused_lm_head

    scorer = load_model(model, spread=spread)
    add_fused_lm_head(scorer, temperature=temperature)
    scores = token_log_probs(scorer, [one.prompt_ids for one in rollouts], [one.token_ids for one in rollouts], 1)
    return compare_log_probs([one.log_probs for one in rollouts], scores)
