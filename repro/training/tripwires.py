"""Tripwires on training: messages about suspicious metrics, for summary.json and the page.

A tripped wire is not an error: a student misled in the way the paper intends may run away. It says where to look.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.training.history import tail_mean

RUNAWAY_LENGTH = 2.0
LOST_ENDS = 0.25
REPEATED = 0.1
COLLAPSED_ENTROPY = 0.05
COLLAPSED_SHARE = 0.1
"""ASSUMED, from 73 training runs in the embedded world: lengths change by less than half, at most 1 % of completions
are cut off, and entropy falls below both 0.05 nats and a tenth of its initial value only where nearly all completions
are alike."""


def tripwires(rows: Sequence[Mapping[str, Any]], cap: int) -> dict[str, str]:
    """Compare the last tenth of the steps with the first; return a message for each tripped wire.

    Args:
        rows: the history: length (tokens), stopped_by_length and repeated (shares), entropy (nats per token). Metrics
            that a method does not log cannot trip.
        cap: most tokens of a completion.
    """
    first, last = (
        {name: tail_mean(part, name) for name in ("length", "stopped_by_length", "repeated", "entropy")}
        for part in (rows[::-1], rows)
    )
    length, cut, repeated, entropy = last.values()
    tripped = {}
    if length is not None and first["length"] and length >= max(RUNAWAY_LENGTH * first["length"], cap / 2):
        tripped["runaway length"] = f"completions grew from {first['length']:.1f} to {length:.1f} tokens (cap: {cap})"
    if cut is not None and cut >= LOST_ENDS:
        tripped["lost ends"] = f"{cut:.0%} of the completions in the last tenth of the steps were cut at {cap} tokens"
    if repeated is not None and repeated >= REPEATED:
        tripped["repetition"] = f"{repeated:.0%} of the completions in the last tenth of the steps end in a loop"
    start = first["entropy"]
    if entropy is not None and start and entropy < min(COLLAPSED_ENTROPY, COLLAPSED_SHARE * start):
        tripped["entropy collapse"] = f"entropy fell from {start:.3g} to {entropy:.3g} nats per token"
    return tripped
