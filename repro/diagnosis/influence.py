"""Influence values: a statistic that is no mean, as one value per prompt whose mean it is.

They are t + (P - 1)(mean of t without one prompt - t without this one): Tukey's pseudo-values, moved so that their mean
is the statistic t itself; their spread gives the jackknife's standard error.
"""

from typing import Any

from repro.diagnosis.columns import Array


def influence_values(whole: Any, without_P: Array) -> Array:
    """[P] influence values, from the statistic of all prompts and of all but each."""
    return whole + (len(without_P) - 1) * (without_P.mean() - without_P)
