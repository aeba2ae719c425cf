"""A sampled completion, as engines return it."""

from dataclasses import dataclass

from repro.generation.rollouts import Stop


@dataclass(frozen=True)
class Completion:
    """Sampled tokens (the end token included when sampled) and their log-probabilities, nats."""

    token_ids: list[int]
    log_probs: list[float]
    stop: Stop
