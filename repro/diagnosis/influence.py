"""Influence values: a statistic that is not a mean, as one value per prompt whose mean it is.

They are t + (P - 1)(mean over all prompts of t without one - t without this prompt): Tukey's pseudo-values, shifted so
that their mean is the statistic t; their spread gives the jackknife's standard error.
"""

from typing import Any

from repro.diagnosis.columns import Array


def influence_values(total: Any, without_P: Array) -> Array:
    """Return [P] influence values, from the statistic of all prompts and of all but each."""
    return total + (len(without_P) - 1) * (without_P.mean() - without_P)
