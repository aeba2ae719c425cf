"""Has a calibration moved its teacher? One that has not is idle: it controls for nothing, and no claim may rest on it."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

IDLE_KL = 1e-3
"""ASSUMED, nats per token: a teacher nearer than this to its start acts as its start does. In the embedded world, teachers of
plain RFT that never took a step end at 1e-5 to 2e-4, those of the weakest eta that was tried at 7e-3 and more."""
FLAT_STEPS = 0.9
"""ASSUMED: the share of steps without any gradient from a reward from which on a training was none."""
_LAST = 0.25  # of the steps; their median, since a single rare token multiplies one step's estimate by a hundred


def find_idleness(history: Sequence[Mapping[str, Any]], rewards: Sequence[str], kl: float | None = None) -> str | None:
    """Say in words why a training left its model where it was; None if it moved it.

    Args:
        history: the rows of history.jsonl: kl (to the start, nats per token) and REWARD_flat_groups (shares) of each step.
        rewards: the rewards with a weight, by their names in the history; a step had a gradient if any of them differed inside
            any group.
        kl: the final KL to the start, nats per token, for a history that has none (no KL anchor).
    """
    steps = [row["kl"] for row in history if row.get("kl") is not None]
    distance = median(steps[-max(1, round(len(steps) * _LAST)) :]) if steps else kl
    if distance is not None and distance < IDLE_KL:
        return f"teacher not moved, KL to its start {distance:.1e} nats per token, floor {IDLE_KL:g}"
    flat = [all(row.get(f"{name}_flat_groups") == 1.0 for name in rewards) for row in history]
    if flat and sum(flat) >= FLAT_STEPS * len(flat):
        return f"teacher not moved, all groups had equal rewards in {sum(flat)} of {len(flat)} steps"
    return None
