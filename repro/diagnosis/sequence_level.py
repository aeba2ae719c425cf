"""Log-probability of a text under models with different tokenizers, each with its own tokens (as in Eq 11)."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from repro.calibration.reward import TargetScorer
from repro.generation.rollouts import Rollout
from repro.models.chat_tokens import eos_token_ids
from repro.models.loading import generation_eos_ids, load_tokenizer

BATCH_SEQUENCES = 16
LEFT_OUT = (
    "token KL",
    "Top-K sums",
    "vocabulary contributions",
    "entropy and forking share",
    "gradient variance",
)
"""Measures that need a shared vocabulary."""


def sequence_scorer(policy: Path | str, model: Path | str) -> Callable[[Iterable[Rollout]], list[float]]:
    """Return a function that computes log p(text | prompt) in a model's own tokens, nats, counting the end once.

    The function takes completions that `policy` sampled at temperature 1, and scores them in batches.

    Args:
        policy, model: folders or hub ids; equal if the policy scores itself.
    """
    tokenizer = load_tokenizer(policy)
    ends = eos_token_ids(tokenizer, generation_eos_ids(policy))
    scorer = TargetScorer(model, tokenizer)

    def score(rollouts: Iterable[Rollout]) -> list[float]:
        log_probs: list[float] = []
        remaining = iter(rollouts)
        while batch := list(islice(remaining, BATCH_SEQUENCES)):
            scores = scorer([r.prompt for r in batch], [r.token_ids for r in batch], ends)
            log_probs += [float(value) for value in scores.log_prob]
        return log_probs

    return score
