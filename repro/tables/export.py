"""A stored table as CSV, JSON or LaTeX."""

import csv
import io
import json
from typing import Any, Literal, get_args

from repro.errors import InputError
from repro.tables.load import Cell, PaperTable

Format = Literal["csv", "json", "latex"]

_LATEX = str.maketrans({"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "–": "--"})


def export(table: PaperTable, format: str) -> str:
    """The table as text: `csv` and `json` have one entry per printed number, `latex` is laid out like the page."""
    if format == "csv":
        return _csv(table)
    if format == "json":
        return _json(table)
    if format == "latex":
        return _latex(table)
    raise InputError(f"no export format {format!r}; there are {', '.join(get_args(Format))}.")


def record_of(cell: Cell) -> dict[str, Any]:
    """One printed number as plain data."""
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


def _latex(table: PaperTable) -> str:
    columns = list(table.columns)
    heads = [*table.row_keys, *(table.columns[c].printed for c in columns)]
    lines = [
        rf"% {table.title}; source: arXiv 2604.18963, {table.id}",
        rf"\begin{{tabular}}{{{'l' * len(table.row_keys)}{'r' * len(columns)}}}",
        r"\toprule",
        _row(heads),
    ]
    for block in dict.fromkeys(cell.block for cell in table.cells):
        lines += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{\emph{{{block.translate(_LATEX)}}}}} \\", r"\midrule"]
        own = [cell for cell in table.cells if cell.block == block]
        for keys in dict.fromkeys(tuple(cell.row.values()) for cell in own):
            texts = {cell.column: cell.cell_text for cell in own if tuple(cell.row.values()) == keys}
            lines.append(_row([*keys, *(texts.get(column, "") for column in columns)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: list[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
