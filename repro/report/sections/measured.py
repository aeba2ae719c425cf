"""Measured beside printed numbers, every cell, and the failure rates."""

from repro.report.blocks import Block, Bullets, Cell, Collapsible, Grid, Section, Text, number_cell
from repro.report.cell_verdicts import cell_verdicts, describe_power, format_verdicts, judged_cells
from repro.report.conclusions import HIGH
from repro.report.figures.points import measured_points
from repro.report.matrix import matrix_of
from repro.report.merge import Part
from repro.report.text import capitalise
from repro.stages.artifact import count_undecided
from repro.tables.formatting import (
    FAILURE_METRICS,
    describe_idle,
    layout_metrics,
    main_metric,
    measured_rows,
    printed_cell,
    printed_number,
)
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import is_kl, metric_name, metric_with_id
from repro.tables.verdicts.verdict_types import CellVerdict

WITHHELD = " A completion that a guard withholds counts as truncated and empty."


def measured_section(part: Part, key: str) -> Section:
    """Show the paper's layout first; every cell with its interval, margin and verdict is folded away."""
    layout: list[Block] = []
    folded: list[Block] = []
    for n, table in enumerate(part.measured):
        layout.append(Text(_describe_table(table, part)))
        layout += [Text(line, strong=True) for line in describe_idle(table)]
        layout += [Text(line) for line in _describe_added(table, part)]
        layout += [_layout(table, part, metric) for metric in layout_metrics(table)]
        rows = _cells(table, part)
        grid = Grid(f"Every measured number, {table.family}", rows)
        folded.append(Collapsible(f"Every number ({table.family}): {len(rows)} cells", [grid], f"{key}-every-{n}"))
    if power := describe_power(part.report):
        layout = [
            Text("Which differences these cells can detect, apart from the paper's own uncertainty:", strong=True),
            Bullets(power),
            *layout,
        ]
    title = "Measured against printed" if any(_has_printed(table, part) for table in part.measured) else "Measured"
    return Section(f"{key}-measured", title, [*layout, *folded], brief=layout)


def failures_section(part: Part, key: str) -> Section:
    """Show the shares of completions that never were an answer, by row and task."""
    explanation = Text(
        "Shares of completions: no answer found (unparsed), cut by the token cap (truncated), a span of tokens at least"
        f" four times in a row (repeating), no text (empty). {HIGH:.0%} and more is marked. Check them before you read an accuracy."
        f"{WITHHELD if matrix_of(part) is not None else ''}"
    )
    grids = [
        _failures(table) for table in part.measured if any(metric in FAILURE_METRICS for _, _, metric in table.values)
    ]
    notices: list[Block] = []
    stages = {stage["artifact"]: stage for source in part.sources for stage in source.content["stages"]}
    if undecided := sum(count_undecided(stage["summary"]) for stage in stages.values()):
        notices += [
            Text(f"{undecided} answers could not be graded within the limits (undecided); they score 0.", strong=True)
        ]
    if not grids:
        return Section(f"{key}-failures", "Failure rates", notices, notices)
    marked: list[Block] = [
        Grid(f"{grid.caption}: rows that are marked", rows) for grid in grids if (rows := _marked(grid))
    ]
    brief: list[Block] = [explanation, *notices, *(marked or [Text(f"No rate reaches {HIGH:.0%}.")])]
    n_rows = sum(len(grid.rows) for grid in grids)
    folded = Collapsible(f"Failure rates of every row and task: {n_rows}", grids, f"{key}-failures-every")
    return Section(f"{key}-failures", "Failure rates", [*brief, folded], brief)


def _marked(grid: Grid) -> list[dict[str, Cell]]:
    return [row for row in grid.rows if any(cell.tone == "warn" for cell in row.values())]


def _describe_table(table: MeasuredTable, part: Part) -> str:
    sizes = ", ".join(f"{task} {len(ids)}" for task, ids in table.items.items())
    seeds = ", ".join(map(str, table.seeds))
    has_answers = layout_metrics(table) == [None]
    text = (
        f"Family {table.family}; training seed{'s' if len(table.seeds) > 1 else ''} {seeds}; {table.samples} samples per item; items: {sizes}. Cells:"
        f" {'accuracy or reward' if has_answers else 'the metric'} ± half-width of its 95 % interval, or its ends where it is cut off at the metric's bounds"
        f" ({'items and seeds' if len(table.seeds) > 1 else 'items'} resampled){f' [maj@{table.samples}, pass@{table.samples}]' if has_answers else ''}."
    )
    if has_answers and (
        chances := [f"{task} {table.chance[task]:.3g}" for task in table.tasks if table.chance.get(task)]
    ):
        text += f" Guessing would score: {', '.join(chances)}."
    if any(map(is_kl, filter(None, layout_metrics(table)))):
        text += " KL in nats."
    if part.report.notice and _has_printed(table, part):
        text += (
            " The paper's numbers next to them are for its own models and tasks: for orientation, not for comparison."
        )
    return text


def _has_printed(table: MeasuredTable, part: Part) -> bool:
    """Return True if the paper prints a number for any of the cells: its rows may be other models."""
    return any(printed_number(part.stored, table.family, *cell) for cell in table.values)


def _describe_added(table: MeasuredTable, part: Part) -> list[str]:
    """Name the rows that each plug-in of the user's added, and its content."""
    labels: dict[str, dict[str, None]] = {}
    for source in part.sources:
        for line in source.content["rows"]:
            if "plugin" in line and line["family"] == table.family:
                labels.setdefault(line["plugin"], {})[line["method"]] = None
    contents = {plugin["name"]: plugin.get("content") for plugin in part.settings.get("rows", ())}
    return [
        f"Rows added by the plug-in {plugin} (sha256 {str(contents.get(plugin.partition('(')[0]))[:12]}), neither the paper's"
        f" nor the kit's: {', '.join(rows)}."
        for plugin, rows in labels.items()
    ]


def _layout(table: MeasuredTable, part: Part, metric: str | None) -> Grid:
    """Lay out measured over printed numbers; at paper scale each with the verdict on it."""
    stored, judged = part.stored, judged_cells(part.report)
    rows = []
    for texts in measured_rows(table, metric=metric):
        row = texts["row"]
        cells = {"row": Cell(row, note="idle", tone="warn") if row in table.idle else Cell(row)}
        for task in (task for task in table.tasks if task in texts):
            task_metric = metric or main_metric(table, task)
            printed = printed_cell(stored, table.family, row, task, task_metric)
            value = table.mean(row, task, task_metric) if table.has(row, task, task_metric) else None
            note, tone = printed and f"paper {printed}", ""
            if values := cell_verdicts(judged, stored, table.family, row, task, task_metric):
                note, tone = f"{note}: {format_verdicts(values)}", values[0]
            cells[task] = Cell(texts[task], note=note, tone=tone, value=value)
        rows.append(cells)
    return Grid(f"{capitalise(metric_with_id(metric)) if metric else stored.title}, {table.family}", rows)


def _cells(table: MeasuredTable, part: Part) -> list[dict[str, Cell]]:
    judged = {(c.row, c.column, c.metric): c for c in part.report.cells if c.family == table.family}
    rows = []
    for point in measured_points(table, table.values):
        row, task, metric = point["row"], point["task"], point["metric"]
        mean = table.mean(row, task, metric)
        verdict = judged.get((row, part.stored.column_of(task) or task, metric))
        rows.append(
            {
                "row": Cell(row),
                "task": Cell(task),
                "metric": Cell(metric_name(metric), metric if metric_name(metric) != metric else ""),
                "measured": number_cell(mean, ".4g"),
                "95 % interval": Cell(f"{point['low']:.4g} to {point['high']:.4g}"),
                "by seed": Cell(", ".join(f"{x:.4g}" for x in table.values[row, task, metric].means_S())),
                "paper prints": Cell(printed_number(part.stored, table.family, row, task, metric)),
                **(_judged(verdict) if judged else {}),
            }
        )
    return rows


def _judged(verdict: CellVerdict | None) -> dict[str, Cell]:
    """Show difference from the printed number, margin and verdict: columns of the paper's own scale only."""
    if verdict is None:
        return {"difference": Cell(""), "margin": Cell(""), "verdict": Cell("")}
    low, high = verdict.interval
    return {
        "difference": Cell(f"{verdict.difference:+.3g}", f"{low:+.3g} to {high:+.3g}", "", verdict.difference),
        "margin": number_cell(verdict.margin, ".3g"),
        "verdict": Cell(verdict.value, tone=verdict.value),
    }


def _failures(table: MeasuredTable) -> Grid:
    rows = []
    for row in table.rows:
        for task in table.tasks:
            rates = {m: table.mean(row, task, m) for m in FAILURE_METRICS if table.has(row, task, m)}
            cells = {m: Cell(f"{r:.3f}", tone="warn" if r >= HIGH else "", value=r) for m, r in rates.items()}
            if cells:
                cells = {metric: cells.get(metric, Cell("")) for metric in FAILURE_METRICS}
                rows.append({"row": Cell(row), "task": Cell(task), **cells})
    return Grid(f"Failure rates, {table.family}", rows)
