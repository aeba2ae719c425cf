"""Export a stored result for other tools: every cell as CSV, and tables as Markdown and LaTeX."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from repro.errors import InputError
from repro.printed.load import PaperTable, load
from repro.report.figures.points import measured_points
from repro.report.reload import judge_again
from repro.report.result import read_result
from repro.tables.formatting import layout_metrics, layout_title, measured_rows, printed_number
from repro.tables.measured_table import MeasuredTable
from repro.tables.verdicts.verdict_types import VerdictReport

Format = Literal["csv", "markdown", "latex"]
_ESCAPED = {
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
}
_LATEX = str.maketrans(_ESCAPED | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "\n": " "})


def export_result(result: Path, format: str) -> str:
    """Return a result as text.

    Returns:
        csv: a line per cell with its mean, 95 % interval (two-level bootstrap, cut to the metric's range) and the paper's
        number. markdown, latex: a table per family and the verdicts, judged again.

    Raises:
        InputError: no such format, or no such result.
    """
    if format not in get_args(Format):
        raise InputError(f"--format {format}: use {', '.join(get_args(Format))}, or ro-crate.")
    content = read_result(result)
    measured, report = judge_again(content)
    if format == "csv":
        return _csv(measured, load(content["study"]))
    tables = [(title, rows) for table in measured for title, rows in _layouts(table)]
    if report.claims:
        tables.append((f"Verdicts of {report.study} at {report.scale} scale", _verdict_rows(report)))
    return (_markdown if format == "markdown" else _latex)(tables, report.notice)


def _csv(measured: list[MeasuredTable], stored: PaperTable) -> str:
    records = [record for table in measured for record in _records(table, stored)]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _records(table: MeasuredTable, stored: PaperTable) -> Iterator[dict[str, Any]]:
    for point in measured_points(table, table.values):
        row, task, metric = point["row"], point["task"], point["metric"]
        yield {
            "study": table.study,
            "scale": table.scale,
            "family": table.family,
            "row": row,
            "task": task,
            "metric": metric,
            "value": f"{point['value']:.6g}",
            "low95": f"{point['low']:.6g}",
            "high95": f"{point['high']:.6g}",
            "items": len(table.items[task]),
            "seeds": len(table.seeds),
            "completions_per_item": table.samples,
            "paper": printed_number(stored, table.family, row, task, metric),
        }


def _layouts(table: MeasuredTable) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for metric in layout_metrics(table):
        rows = measured_rows(table, metric=metric)
        if rows:
            yield layout_title(table, metric), rows


def _verdict_rows(report: VerdictReport) -> list[dict[str, str]]:
    return [
        {
            "claim": f"{v.statement} ({v.family})",
            "role": v.role,
            "difference": "" if v.estimate is None else f"{v.estimate:+.3f}",
            "interval": "" if v.interval is None else f"{v.interval[0]:+.3f} to {v.interval[1]:+.3f}",
            "verdict": v.value,
        }
        for v in report.claims
    ]


def _markdown(tables: list[tuple[str, list[dict[str, str]]]], notice: str | None) -> str:
    lines = [f"**{notice}**", ""] if notice else []
    for title, rows in tables:
        heads = list(rows[0])
        lines += [f"### {title}", "", _pipes(heads), "|" + "---|" * len(heads)]
        lines += [_pipes([row.get(head, "") for head in heads]) for row in rows] + [""]
    return "\n".join(lines)


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _latex(tables: list[tuple[str, list[dict[str, str]]]], notice: str | None) -> str:
    lines = ["% needs the package booktabs", *([f"% {notice}"] if notice else [])]
    for title, rows in tables:
        heads = list(rows[0])
        lines += [f"% {title}", rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule", _ampersands(heads)]
        lines += [r"\midrule", *(_ampersands([row.get(head, "") for head in heads]) for row in rows)]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
