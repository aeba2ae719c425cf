"""What was measured beside what the paper prints, every number of it, and the failure rates."""

from repro.report.blocks import Block, Cell, Fold, Grid, Section, Text
from repro.report.merge import Part
from repro.stages.artifact import count_undecided
from repro.tables.formatting import (
    FAILURE_METRICS,
    layout_metrics,
    main_metric,
    measured_rows,
    printed_cell,
    printed_number,
)
from repro.tables.measured_table import MeasuredTable
from repro.tables.paper.load import PaperTable
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples
from repro.tables.verdicts.verdict_types import CellVerdict

HIGH = 0.1
"""A failure rate from which an accuracy is marked: a tenth of the completions never was an answer."""


def measured_section(part: Part, key: str) -> Section:
    """The paper's layout first; behind a line every cell with its interval, margin and verdict."""
    layout: list[Block] = []
    every: list[Block] = []
    for n, table in enumerate(part.measured):
        layout += [
            Text(_words(table, part)),
            *(_layout(table, part.stored, metric) for metric in layout_metrics(table)),
        ]
        rows = _every(table, part)
        every.append(
            Fold(
                f"Every number ({table.family}): {len(rows)} cells",
                [Grid(f"Every measured number, {table.family}", rows)],
                f"{key}-every-{n}",
            )
        )
    return Section(f"{key}-measured", "Measured against printed", [*layout, *every], brief=layout)


def failures_section(part: Part, key: str) -> Section:
    """Shares of completions that never were an answer, by row and task."""
    words = Text(
        "Shares of completions: no answer found (unparsed), cut by the token cap (truncated), a span of tokens at least"
        f" four times in a row (repeating), no text (empty). {HIGH:.0%} and more is marked. Read no accuracy without them."
    )
    grids = [
        _failures(table) for table in part.measured if any(metric in FAILURE_METRICS for _, _, metric in table.values)
    ]
    notices: list[Block] = []
    stages = [stage for source in part.sources for stage in source.content["stages"]]
    if undecided := sum(count_undecided(stage["summary"]) for stage in stages):
        notices += [Text(f"{undecided} answers could not be graded within the limits (undecided); they score 0.", True)]
    if not grids:
        return Section(f"{key}-failures", "Failure rates", notices, notices)
    marked: list[Block] = [Grid(f"{g.caption}: rows that are marked", rows) for g in grids if (rows := _marked(g))]
    brief: list[Block] = [words, *notices, *(marked or [Text("No rate reaches it.")])]
    return Section(f"{key}-failures", "Failure rates", [words, *notices, *grids], brief)


def _marked(grid: Grid) -> list[dict[str, Cell]]:
    return [row for row in grid.rows if any(cell.tone == "warn" for cell in row.values())]


def _words(table: MeasuredTable, part: Part) -> str:
    sizes = ", ".join(f"{task} {len(ids)}" for task, ids in table.items.items())
    seeds = ", ".join(map(str, table.seeds))
    answered = layout_metrics(table) == [None]
    text = (
        f"Family {table.family}; training seeds {seeds}; {table.samples} samples per item; items: {sizes}. Cells:"
        f" {'accuracy or reward' if answered else 'the metric'} ± half-width of its 95 % interval (items and seeds"
        f" resampled){' [maj@k, pass@k]' if answered else ''}."
    )
    if part.report.notice:
        text += " The paper's numbers beside them are of its own models and tasks: for orientation, not for comparison."
    return text


def _layout(table: MeasuredTable, stored: PaperTable, metric: str | None) -> Grid:
    rows = []
    for row in measured_rows(table, metric=metric):
        cells = {"row": Cell(row["row"])}
        for task in table.tasks:
            shown = metric or main_metric(table, task)
            printed = printed_cell(stored, table.family, row["row"], task, shown)
            value = table.mean(row["row"], task, shown) if table.has(row["row"], task, shown) else None
            cells[task] = Cell(row[task], note=printed and f"paper {printed}", value=value)
        rows.append(cells)
    return Grid(f"{stored.title}{f': {metric}' if metric else ''}, {table.family}", rows)


def _every(table: MeasuredTable, part: Part) -> list[dict[str, Cell]]:
    draws = Resamples(table, table.values, 2_000, 0)
    judged = {(c.row, c.column, c.metric): c for c in part.report.cells if c.family == table.family}
    rows = []
    for row, task, metric in table.values:
        mean = table.mean(row, task, metric)
        half = half_width(draws.estimate({(row, task, metric): 1.0}), 0.05)
        cell = judged.get((row, part.stored.column_of(task) or task, metric))
        rows.append(
            {
                "row": Cell(row),
                "task": Cell(task),
                "metric": Cell(metric),
                "measured": Cell(f"{mean:.4g}", value=mean),
                "95 % interval": Cell(f"{mean - half:.4g} to {mean + half:.4g}"),
                "by seed": Cell(", ".join(f"{x:.4g}" for x in table.values[row, task, metric].means_S())),
                "paper prints": Cell(printed_number(part.stored, table.family, row, task, metric)),
                **_judged(cell, bool(judged)),
            }
        )
    return rows


def _judged(cell: CellVerdict | None, any_judged: bool) -> dict[str, Cell]:
    """Difference from the printed number, margin and verdict: columns of the paper's own scale only."""
    if not any_judged:
        return {}
    if cell is None:
        return {"difference": Cell(""), "margin": Cell(""), "verdict": Cell("")}
    low, high = cell.interval
    return {
        "difference": Cell(f"{cell.difference:+.3g}", f"{low:+.3g} to {high:+.3g}", "", cell.difference),
        "margin": Cell("" if cell.margin is None else f"{cell.margin:.3g}", value=cell.margin),
        "verdict": Cell(cell.value, tone=cell.value),
    }


def _failures(table: MeasuredTable) -> Grid:
    rows = []
    for row in table.rows:
        for task in table.tasks:
            rates = {f: table.mean(row, task, f) for f in FAILURE_METRICS if table.has(row, task, f)}
            if rates:
                shown = {
                    f: Cell(f"{rates[f]:.3f}", tone="warn" if rates[f] >= HIGH else "", value=rates[f])
                    if f in rates
                    else Cell("")
                    for f in FAILURE_METRICS
                }
                rows.append({"row": Cell(row), "task": Cell(task), **shown})
    return Grid(f"Failure rates, {table.family}", rows)
