"""Influence values: turn any statistic into one value per prompt, such that their mean is the statistic.

They are t + (P - 1)(mean over all prompts of t without one - t without this prompt): Tukey's pseudo-values, shifted so
that their mean is the statistic t. Their spread gives the jackknife standard error.
"""

from typing import Any

from repro.diagnosis.columns import Array


def influence_values(total: Any, without_P: Array) -> Array:
    """Return [P] influence values, from the statistic over all prompts and the leave-one-out statistics."""
    return total + (len(without_P) - 1) * (without_P.mean() - without_P)
