"""Metrics of guards and attacks, apart from what measures them: a page needs no artifact."""

from repro.tables.measured_table import MeasuredTable

GAIN, MOVED, READABLE = "gain", "moved", "reader_nats"
"""Metrics. gain: score less that of the student without a teacher, item by item; moved: nats per token from the start, an
estimate of KL(model || start); reader_nats: nats per token under the calibration target, which stands for a reader."""
IDLE_FLOOR = 0.001
"""ASSUMED: nats per token. A model that moved less from its start did nothing that a gain could be due to."""
GAIN_PER_1000 = "gain_per_1000_queries"
"""Metric: the gain over the student without a teacher, divided by the thousands of queries to the teacher of all tasks."""
BASELINE = "none"
"""Label of no guard: the open teacher, with which guarded ones are compared."""


def is_idle(table: MeasuredTable, label: str) -> bool:
    """Return True if the row's model moved less than the floor from its start, on average over its tasks."""
    distances = [table.mean(*key) for key in table.values if key[0] == label and key[2] == MOVED]
    return bool(distances) and sum(distances) / len(distances) < IDLE_FLOOR
