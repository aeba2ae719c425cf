"""Warnings for alarming numbers in a stage's summary: nothing was learnt, or nothing can be trusted."""

from collections.abc import Mapping
from typing import Any

ALL = 0.99
"""Share from which a warning says "all"."""
MOST = 0.5
"""Share of unparsed answers from which an accuracy mostly measures answer format."""
LARGEST_PARETO_K = 0.7
"""Tail shape of importance weights above which their means cannot be trusted (Vehtari et al., 2024)."""


def find_alarms(summary: Mapping[str, Any]) -> list[str]:
    """Warn of: all completions cut, most answers unparsed, all groups flat, heavy-tailed importance weights."""
    alarms = []
    for task, rates in summary.items():
        if isinstance(rates, Mapping):
            alarms += _of_completions(rates, f" of {task}")
    alarms += _of_completions(summary, "")
    if _share(summary, "stopped_by_length") >= ALL:
        alarms.append(_cut(" in the last tenth of the steps"))
    if _share(summary, "task_reward_flat_groups") >= ALL:
        alarms.append(
            "In the last tenth of the steps, all completions of every group had the same task reward, so the task reward gave"
            " no gradient. Use harder or easier prompts, or a larger group (group_size)."
        )
    ks = [line for line in summary.get("panel", ()) if line["measure"].endswith("pareto_k")]
    if bad := [line for line in ks if isinstance(line["value"], float) and line["value"] > LARGEST_PARETO_K]:
        worst = max(bad, key=lambda line: line["value"])
        alarms.append(
            f"The importance-weighted estimates are unreliable: Pareto-k is {worst['value']:.2f} on {worst['task']} (above"
            f" {LARGEST_PARETO_K:g}, a few completions dominate the mean)."
        )
    return alarms


def _of_completions(rates: Mapping[str, Any], whose: str) -> list[str]:
    alarms = []
    if _share(rates, "truncated") >= ALL:
        alarms.append(_cut(whose))
    if _share(rates, "unparsed") >= ALL:
        alarms.append(
            f"No completion{whose} has an answer that could be read: the accuracy says nothing about the model. Read some"
            " completions (repro show FOLDER --completions 5) and check that the prompt asks for the format that is graded"
            " (docs/grading.md). For rows of your own file, --instruction TEXT changes the prompt."
        )
    elif _share(rates, "unparsed") > MOST:
        alarms.append(
            f"{_share(rates, 'unparsed'):.0%} of the answers{whose} could not be read and count as wrong: the accuracy says"
            f" little about what the model knows. {_share(rates, 'truncated'):.0%} of the completions were cut at the token cap"
            " (--set max_completion_tokens=N raises it). Read some of the others (repro show FOLDER --completions 5) and check"
            " that the instruction suits the model (for rows of your own file: --instruction TEXT, or '' for the question"
            " alone)."
        )
    return alarms


def _cut(whose: str) -> str:
    return (
        f"Every completion{whose} was cut at the token cap, so the other numbers mean little: raise the cap (--set"
        " max_completion_tokens=N)."
    )


def _share(rates: Mapping[str, Any], name: str) -> float:
    value = rates.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
