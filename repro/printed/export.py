"""Export a stored table as CSV, JSON or LaTeX."""

import csv
import io
import json
from typing import Any, Literal, get_args

from repro.errors import InputError
from repro.printed.load import PaperTable, PrintedCell

Format = Literal["csv", "json", "latex"]

_LATEX = str.maketrans({"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "–": "--"})


def export_table(table: PaperTable, format: str) -> str:
    """Return the table as text: `csv` and `json` with one entry per printed number, `latex` laid out as printed.

    Raises:
        InputError: no such format, or nothing to export: the paper prints no number of a figure.
    """
    if not table.cells:
        raise InputError(f"{table.id}: the paper prints no number of it, so there is nothing to export.")
    if format == "csv":
        return _csv(table)
    if format == "json":
        return _json(table)
    if format == "latex":
        return _latex(table)
    raise InputError(f"no export format {format!r}; there are {', '.join(get_args(Format))}.")


def record_of(cell: PrintedCell) -> dict[str, Any]:
    """Return one printed number as plain data."""
    return {
        **cell.row,
        "block": cell.block,
        "column": cell.column,
        "metric": cell.metric,
        "printed": cell.printed.text,
        "value": cell.value,
        "half_unit": cell.printed.half_unit,
        "unit": cell.definition.unit,
        "items": cell.items,
        "items_provenance": cell.items_provenance,
        "samples": cell.definition.samples,
        "policy": cell.definition.policy,
        "margin": cell.definition.margin,
        "margin_kind": cell.definition.margin_kind,
        "provenance": cell.provenance,
        "erratum": cell.erratum,
    }


def _csv(table: PaperTable) -> str:
    out = io.StringIO()
    records = [record_of(cell) for cell in table.cells]
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _json(table: PaperTable) -> str:
    content = {
        "id": table.id,
        "title": table.title,
        "section": table.section,
        "note": table.note,
        "row_keys": list(table.row_keys),
        "row_label": table.row_label,
        "untrained": sorted(table.untrained),
        "columns": {name: column.model_dump() for name, column in table.columns.items()},
        "metrics": {name: metric.model_dump() for name, metric in table.metrics.items()},
        "errata": [erratum.model_dump() for erratum in table.errata],
        "cells": [record_of(cell) for cell in table.cells],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def rows_by_block(table: PaperTable) -> dict[str, list[dict[str, str]]]:
    """Lay the table out as printed: heading of each block -> its rows, each from row key or column header to text."""
    blocks: dict[str, dict[tuple[str, ...], dict[str, str]]] = {}
    for cell in table.cells:
        row_keys = {key: cell.row[key] for key in table.row_keys}
        row = blocks.setdefault(cell.block, {}).setdefault(tuple(cell.row.values()), row_keys)
        row[table.columns[cell.column].printed] = cell.cell_text
    return {title: list(rows.values()) for title, rows in blocks.items()}


def _latex(table: PaperTable) -> str:
    headers = [*table.row_keys, *(column.printed for column in table.columns.values())]
    lines = [
        rf"% {table.title}; source: arXiv 2604.18963, {table.id}",
        rf"\begin{{tabular}}{{{'l' * len(table.row_keys)}{'r' * len(table.columns)}}}",
        r"\toprule",
        _row(headers),
    ]
    for title, rows in rows_by_block(table).items():
        heading = rf"\multicolumn{{{len(headers)}}}{{l}}{{\emph{{{title.translate(_LATEX)}}}}} \\"
        lines += [r"\midrule", heading, r"\midrule"]
        lines += [_row([row.get(header, "") for header in headers]) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: list[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
