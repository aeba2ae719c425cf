"""Detect calibrations that did not move their teacher: they control for nothing, and no claim may rest on them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

IDLE_KL = 1e-3
"""ASSUMED, nats per token: a teacher with a smaller KL to its start behaves like its start. In the embedded world,
plain RFT teachers that never took a step end at 1e-5 to 2e-4, teachers with the weakest eta tried at 7e-3 or more."""
FLAT_STEPS = 0.9
"""ASSUMED: if at least this share of steps had no gradient from any reward, the run did not train."""
_LAST = 0.25  # of the steps; the median is used, since one rare token can multiply a step's estimate by a hundred


def find_idleness(history: Sequence[Mapping[str, Any]], rewards: Sequence[str], kl: float | None = None) -> str | None:
    """Return a message saying why training did not move the model; None if it did.

    Args:
        history: rows of history.jsonl: kl (to the start, nats per token) and REWARD_flat_groups (shares) of each step.
        rewards: the rewards with non-zero weight, by their names in the history; a step had a gradient if any of them
            varied within any group.
        kl: the final KL to the start, nats per token, for a history without one (no KL anchor).
    """
    steps = [row["kl"] for row in history if row.get("kl") is not None]
    distance = median(steps[-max(1, round(len(steps) * _LAST)) :]) if steps else kl
    if distance is not None and distance < IDLE_KL:
        return f"the teacher did not move: its KL to its start is {distance:.1e} nats per token, below {IDLE_KL:g}"
    flat = [all(row.get(f"{name}_flat_groups") == 1.0 for name in rewards) for row in history]
    if flat and sum(flat) >= FLAT_STEPS * len(flat):
        return f"the teacher was hardly trained: in {sum(flat)} of {len(flat)} steps, rewards were equal within every group"
    return None
