"""Sentences for numbers of a stage's summary that nobody should read past: nothing was learnt, or nothing can be believed."""

from collections.abc import Mapping
from typing import Any

ALL = 0.99
"""Share from which "all" is said."""
LARGEST_PARETO_K = 0.7
"""Shape of the tail of importance weights above which their means cannot be trusted (Vehtari et al., 2024)."""


def find_alarms(summary: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each: all completions cut, nothing parsed, no group with two rewards, heavy-tailed weights."""
    alarms = []
    for task, rates in summary.items():
        if isinstance(rates, Mapping):
            alarms += _of_completions(rates, f" of {task}")
    alarms += _of_completions(summary, "")
    if _share(summary, "stopped_by_length") >= ALL:
        alarms.append(_cut(""))
    if _share(summary, "task_reward_flat_groups") >= ALL:
        alarms.append(
            "No group had two different task rewards: they taught nothing, and only r_cal moved the teacher. Use harder or"
            " easier prompts, or a larger group."
        )
    ks = [line for line in summary.get("panel", ()) if line["measure"].endswith("pareto_k")]
    if bad := [line for line in ks if isinstance(line["value"], float) and line["value"] > LARGEST_PARETO_K]:
        worst = max(bad, key=lambda line: line["value"])
        alarms.append(
            f"Do not believe the importance-weighted estimates: pareto-k is {worst['value']:.2f} on {worst['task']} (above"
            f" {LARGEST_PARETO_K:g} a few completions carry the mean)."
        )
    return alarms


def _of_completions(rates: Mapping[str, Any], whose: str) -> list[str]:
    alarms = []
    if _share(rates, "truncated") >= ALL:
        alarms.append(_cut(whose))
    if _share(rates, "unparsed") >= ALL:
        alarms.append(
            f"No answer{whose} could be found in any completion: its accuracy says nothing. See the texts in"
            " rollouts.parquet, and whether the prompt asks for the format that is graded (docs/grading.md)."
        )
    return alarms


def _cut(whose: str) -> str:
    return (
        f"Every completion{whose} was cut at the token cap: raise it (--set max_completion_tokens=N) before reading any"
        " other number."
    )


def _share(rates: Mapping[str, Any], name: str) -> float:
    value = rates.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
