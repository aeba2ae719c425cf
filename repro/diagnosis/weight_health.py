"""Diagnostics of the importance weights as per-prompt values, in log space because weights may differ by e^1000.

Shapes: n rollouts of the teacher, P prompts.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp

from repro.diagnosis.columns import Array, Columns
from repro.diagnosis.influence import influence_values
from repro.traps.importance import log_k3


def weight_health(c: Columns, log_w: Array) -> Iterator[tuple[str, Array, Array]]:
    """Yield (measure, [P] influence values, [P] ones) of:

    - weight_waste: 1 - ESS/n, the share of the samples that the weighting wastes.
    - log_weight_error: |log E[w]|; 0 for a healthy estimate, log 2 if the mean weight is off by a factor of two.
    - log_sd_is_rkl, log_sd_is_k3: log of the standard deviation between rollouts of w log w (Eq 3) and of
      1 - w + w log w, whose means are the two cells.

    Yields nothing if every weight is 0.
    """
    if not np.isfinite(log_w).any():
        return
    ones = np.ones(len(c.items))
    size = len(log_w) - np.concatenate([[0.0], c.per_prompt(np.ones_like(log_w))])
    log_n = np.log(size)
    first, second = _log_sums(c, log_w), _log_sums(c, 2 * log_w)
    yield "weight_waste", _influence(1 - np.exp(2 * first - second - log_n)), ones
    yield "log_weight_error", _influence(np.abs(first - log_n)), ones
    with np.errstate(divide="ignore", invalid="ignore"):
        log_rkl = np.where(np.isfinite(log_w), log_w + np.log(np.abs(log_w)), -np.inf)
    yield "log_sd_is_rkl", _influence(_log_sd(c, log_rkl, np.sign(log_w), size)), ones
    yield "log_sd_is_k3", _influence(_log_sd(c, log_k3(log_w), np.ones_like(log_w), size)), ones


def _influence(all_and_without: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return influence_values(all_and_without[0], all_and_without[1:])


def _log_sums(c: Columns, log_size_n: Array, sign_n: Array | None = None) -> Array:
    """Return [1 + P] log |sum| of signed values: over all rollouts, then leaving out each prompt."""
    signs = np.ones_like(log_size_n) if sign_n is None else sign_n
    is_prompt = [c.prompt_n == prompt for prompt in range(len(c.items))]
    parts = [logsumexp(log_size_n[is_own], b=signs[is_own], return_sign=True) for is_own in is_prompt]
    log_P, sign_P = (np.array(column) for column in zip(*parts))
    keep = np.vstack([np.ones(len(parts), dtype=bool), ~np.eye(len(parts), dtype=bool)])
    return logsumexp(np.where(keep, log_P, -np.inf), b=np.where(keep, sign_P, 1.0), axis=1, return_sign=True)[0]


def _log_sd(c: Columns, log_size_n: Array, sign_n: Array, size: Array) -> Array:
    """Return [1 + P] log of the standard deviation: over all rollouts, then leaving out each prompt."""
    square = _log_sums(c, 2 * log_size_n)
    mean_share = np.exp(2 * _log_sums(c, log_size_n, sign_n) - square) / size  # (sum x)^2 / (n sum x^2), at most 1
    with np.errstate(divide="ignore"):
        return 0.5 * (square + np.log1p(-np.minimum(mean_share, 1.0)) - np.log(size - 1))
