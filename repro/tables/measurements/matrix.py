"""Guards against attacks: every row's answers, gains over the student without a teacher, and how far models moved."""

from pathlib import Path

from repro.generation.rollouts import stream_rows
from repro.recipes.labels import moved, read_by_target
from repro.recipes.study import Row
from repro.tables.guard_metrics import GAIN, MOVED, READABLE, is_idle
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.answers import add_answers

ZERO = "no-teacher"
"""The zero line, subtracted from a student's score to give its gain."""
SCORES = "scores.parquet"


def add_matrix(table: MeasuredTable, rows_of: dict[str, list[Row]], cache: Path) -> None:
    """Add answers with lengths, distances and readability, and the gains of students that moved."""
    graded = {label: rows for label, rows in rows_of.items() if rows[0].stage.kind in ("evaluate", "grade")}
    add_answers(table, graded, cache, lengths=True)
    for label in graded:
        for name, metric in ((moved(label), MOVED), (read_by_target(label), READABLE)):
            if name in rows_of:
                _add_scores(table, label, metric, rows_of[name], cache)
    teachers = {label for label in graded if read_by_target(label) in rows_of}
    idle_guards = {rows_of[label][0].guard for label in teachers if is_idle(table, label)}
    for label in graded:
        is_trained = moved(label) in rows_of and label not in teachers
        if is_trained and rows_of[label][0].guard not in idle_guards and not is_idle(table, label):
            _add_gain(table, label)


def _add_gain(table: MeasuredTable, label: str) -> None:
    for task in table.tasks:
        metric = next((m for m in ("acc", "reward") if table.has(label, task, m) and table.has(ZERO, task, m)), None)
        if metric is not None:
            values_SN = table.values[label, task, metric].values_SN - table.values[ZERO, task, metric].values_SN
            table.add(label, task, GAIN, table.items[task], values_SN)


def _add_scores(table: MeasuredTable, label: str, metric: str, rows: list[Row], cache: Path) -> None:
    """Add nats per token for each task: an item's nats / tokens, weighted by its tokens."""
    nats: list[dict[tuple[str, str], float]] = []
    tokens: list[dict[tuple[str, str], float]] = []
    for row in rows:
        nats.append({})
        tokens.append({})
        for score in stream_rows(cache / row.stage.folder_name / SCORES, _COLUMNS):
            sampled = 0.0 if metric == READABLE else score["sampled_log_prob"]
            if sampled is None:  # rewritten text: its distribution is unknown
                return
            key = (score["task"], score["item_id"])
            nats[-1][key] = nats[-1].get(key, 0.0) + sampled - score["log_prob"]
            tokens[-1][key] = tokens[-1].get(key, 0.0) + score["tokens"]
    for task in table.tasks:
        weights = [{item: seed[task, item] for t, item in seed if t == task} for seed in tokens]
        values = [
            {item: seed[task, item] / max(1.0, count) for item, count in of_seed.items()}
            for seed, of_seed in zip(nats, weights)
        ]
        if values[0] and all(sum(seed.values()) > 0 for seed in weights):
            table.add_by_item(label, task, metric, values, weights)


_COLUMNS = ["task", "item_id", "tokens", "log_prob", "sampled_log_prob"]
