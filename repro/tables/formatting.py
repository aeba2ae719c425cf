"""Format a measured table like the paper's, as rows of text for any page or terminal."""

from repro.printed.load import PaperTable
from repro.printed.numbers import PrintedNumber
from repro.recipes.labels import moved, read_by_target
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import half_width, interval
from repro.tables.statistics.resampling import Resamples

# Metrics that one cell of the measured table shows, in print order; only the first carries an interval.
_PRINTED = ("acc", "maj16", "pass16")
SHOWN_TRAP_METRICS = (
    "token_rkl",
    "sequence_rkl",
    "wrong_trace",
    "unanswered_trace",
    "unanswered_share",
    "is_rkl",
    "is_k3",
    "token_rkl_outcome_correlation",
    "wrong_trace_outcome_correlation",
)
"""Metrics of Tables 1 and 4 that the paper prints, plus the traces that never answer next to the wrong ones; a
diagnosis's other metrics are in the panel."""
FAILURE_METRICS = ("unparsed", "truncated", "repeating", "empty")
"""Metrics of how completions failed, shown separately from the others."""


def layout_title(measured: MeasuredTable, metric: str | None) -> str:
    """Describe the cells of `measured_rows`; metric as there."""
    k = measured.samples
    cells = f"{metric_name(metric)} ± 95 %" if metric else f"accuracy or reward ± 95 % [maj@{k}, pass@{k}]"
    return f"{measured.study}, {measured.family}: {cells}"


def measured_rows(
    measured: MeasuredTable, resamples: int = 2_000, seed: int = 0, metric: str | None = None
) -> list[dict[str, str]]:
    """Return one dict per row, "row" and then a text per task: `acc ± half-width of the 95 % interval [maj, pass]`.

    If the interval leaves the metric's range, its ends are shown, cut off there: `acc (0 to the upper end)`.

    Args:
        metric: defaults to each task's main one.
    """
    tasks = [
        task for task in measured.tasks if metric is None or any(key[1:] == (task, metric) for key in measured.values)
    ]
    main = {task: metric or main_metric(measured, task) for task in tasks}
    keys = [(row, task, name) for row in measured.rows for task, name in main.items() if measured.has(row, task, name)]
    draws = Resamples(measured, keys, resamples, seed)
    rows: list[dict[str, str]] = []
    for row in measured.rows:
        texts = {"row": row}
        for task, name in main.items():
            if not measured.has(row, task, name):
                texts[task] = ""
                continue
            text = _with_interval(draws, (row, task, name))
            of_samples = (f"maj{measured.samples}", f"pass{measured.samples}")
            bracketed = [m for m in of_samples if name == "acc" and measured.has(row, task, m)]
            if bracketed:
                text += " [" + ", ".join(f"{measured.mean(row, task, m):.3f}" for m in bracketed) + "]"
            texts[task] = text
        if any(texts[task] for task in main):  # rows without any main metric are shown elsewhere
            rows.append(texts)
    return rows


def _with_interval(draws: Resamples, key: CellKey) -> str:
    """Return "mean ± half-width", or the interval's ends where it is cut off: no share is below 0 or above 1."""
    contrast = {key: 1.0}
    estimate = draws.estimate(contrast)
    uncut_ends = interval(estimate, 0.05)
    ends = bounded(contrast, uncut_ends)
    if ends == uncut_ends:
        return f"{estimate.value:.3f} ± {half_width(estimate, 0.05):.3f}"
    low, high = (f"{end:.3f}" if end in uncut_ends else f"{end:g}" for end in ends)
    return f"{estimate.value:.3f} ({low} to {high})"


def describe_idle(measured: MeasuredTable) -> list[str]:
    """Say which rows are idle, on which tasks and why, one line per reason; empty if none are.

    Rows that only report how far another row has moved, or how readable it is, are not listed separately.
    """
    rows_by_reason: dict[tuple[str, str], list[str]] = {}
    about_others = {label(row) for row in measured.idle for label in (moved, read_by_target)}
    for row, by_task in measured.idle.items():
        if row in about_others:
            continue
        for reason in dict.fromkeys(filter(None, (measured.idleness(row, task) for task in by_task))):
            tasks = ", ".join(task for task in by_task if measured.idleness(row, task) == reason)
            rows_by_reason.setdefault((tasks, reason), []).append(row)
    but_curves = ", except in curves over eta" if measured.etas else ""
    return [
        f"Idle on {tasks}, so not used in claims there{but_curves}: {', '.join(rows)} ({reason})."
        for (tasks, reason), rows in rows_by_reason.items()
    ]


def main_metric(measured: MeasuredTable, task: str) -> str:
    """Return a task's main metric: accuracy, else reward, else the first it has."""
    metrics = [metric for _, t, metric in measured.values if t == task]
    return next((m for m in ("acc", "reward") if m in metrics), metrics[0])


def layout_metrics(measured: MeasuredTable) -> list[str | None]:
    """Return the metrics to lay a table out by, one layout each; None means each task's main metric.

    Tables of answers have one layout, tables of traps one per printed metric, all others one per metric.
    """
    metrics = dict.fromkeys(metric for _, _, metric in measured.values if metric not in FAILURE_METRICS)
    if {"acc", "reward"} & set(metrics):
        return [None]
    return [m for m in SHOWN_TRAP_METRICS if m in metrics] or list(metrics)


def cell_metrics(metric: str) -> tuple[str, ...]:
    """Return all metrics shown in one cell of `measured_rows`, given the cell's main metric."""
    return _PRINTED if metric == "acc" else (metric,)


def printed_cell(stored: PaperTable, family: str, row: str, task: str, metric: str) -> str:
    """Return the paper's text for a cell of `measured_rows`, e.g. "0.615 [0.612, 0.773]"; empty if not printed."""
    first, *rest = (printed_number(stored, family, row, task, name) for name in cell_metrics(metric))
    return first + (f" [{', '.join(rest)}]" if first and all(rest) and rest else "")


def printed_number(stored: PaperTable, family: str, row: str, task: str, metric: str) -> str:
    """Return the paper's text for one metric of that cell; empty if not printed."""
    printed = printed_at(stored, family, row, task, metric)
    return printed.text if printed else ""


def printed_at(stored: PaperTable, family: str, row: str, task: str, metric: str) -> PrintedNumber | None:
    """Return the printed number for a row, a run's task and a metric, or None."""
    column = stored.column_of(task)
    if column is None:
        return None
    cells = stored.select(columns=(column,), metric=metric, family=family, **{stored.row_label: row})
    return cells[0].printed if len(cells) == 1 else None
