"""Metrics of guards and attacks, separate from the code that measures them, since a page needs no artifact."""

from repro.recipes.labels import guard_in, teacher_under
from repro.tables.measured_table import MeasuredTable

GAIN, MOVED, READABLE = "gain", "moved", "reader_nats"
"""Metrics. gain: score minus the score of the student without a teacher, item by item; moved: nats per token from the
start, an estimate of KL(model || start); reader_nats: nats per token under the calibration target, as a proxy for a
reader."""
IDLE_FLOOR = 0.001
"""ASSUMED: nats per token. A model that moved less than this from its start cannot have caused a gain."""
GAIN_PER_1000 = "gain_per_1000_queries"
"""Metric: gain over the student without a teacher, per thousand queries to the teacher over all tasks."""
BASELINE = "none"
"""Label for no guard: the open teacher, which guarded ones are compared with."""


def is_idle(table: MeasuredTable, label: str) -> bool:
    """Return True if the row's model moved less than the floor from its start, on average over its tasks."""
    distances = [table.mean(*key) for key in table.values if key[0] == label and key[2] == MOVED]
    return bool(distances) and sum(distances) / len(distances) < IDLE_FLOOR


def has_idle_gain(table: MeasuredTable, label: str) -> bool:
    """Return True if a student has no gain because it has not moved, or because the teacher under its guard has not."""
    guard = guard_in(label)
    return guard is not None and (is_idle(table, label) or is_idle(table, teacher_under(guard)))
