"""Exports of stored tables, and measured tables as rows of text."""

import csv
import io
import json

import pytest

from repro.errors import InputError
from repro.printed.export import export_table, rows_by_block
from repro.printed.load import load, table_names
from repro.tables.formatting import measured_rows, printed_cell, printed_number

from .conftest import Make


@pytest.mark.parametrize("name", table_names())
def test_exports_hold_every_number(name: str) -> None:
    table = load(name)
    content = json.loads(export_table(table, "json"))
    rows = list(csv.DictReader(io.StringIO(export_table(table, "csv"))))
    assert len(content["cells"]) == len(rows) == len(table.cells)
    for cell, record, row in zip(table.cells, content["cells"], rows, strict=True):
        assert record["value"] == cell.value == float(row["value"])
        assert record["printed"] == row["printed"] == cell.printed.text
        assert record["provenance"] == "PAPER"
    assert content["metrics"].keys() == {cell.metric for cell in table.cells}


def test_json_carries_margins_and_errata() -> None:
    content = json.loads(export_table(load("table1"), "json"))
    assert content["errata"][0]["id"] == "qwen3-32b-open-sequence-rkl"
    flagged = [c for c in content["cells"] if c["erratum"]]
    assert [(c["teacher"], c["column"]) for c in flagged] == [("Qwen3-32B", "Dolly"), ("Qwen3-32B", "Vicuna")]
    assert content["metrics"]["token_rkl"]["margin"] == 0.15
    assert content["metrics"]["is_rkl"]["policy"] == "diagnose"


def test_latex_is_laid_out_like_the_page() -> None:
    text = export_table(load("table1"), "latex")
    assert r"qwen3 & Qwen3-1.7B & Qwen3-8B & 814.1 (36.3\%) & 856.5 (39.0\%) & 638.5 (36.7\%)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {9}
    assert "0.523 [0.518, 0.763]" in export_table(load("table2"), "latex")


def test_rows_by_block_follow_the_printed_layout() -> None:
    blocks = rows_by_block(load("table4"))
    assert list(blocks) == ["On-Policy Token RKL", "On-Policy Sequence RKL (wrong-trace preference %)"]
    assert [len(rows) for rows in blocks.values()] == [6, 6]
    last = blocks["On-Policy Sequence RKL (wrong-trace preference %)"][-1]
    assert last == {
        "family": "qwen3",
        "teacher": "Qwen3-8B",
        "variant": "Undistillable",
        "BM 4": "784.5 (46.3%)",
        "BM 5": "835.8 (41.0%)",
        "CSQA": "621.0 (48.7%)",
        "MMLU-Pro": "759.9 (47.2%)",
    }


def test_unknown_format() -> None:
    with pytest.raises(InputError, match="no export format 'xml'; there are csv, json, latex"):
        export_table(load("table2"), "xml")


def test_measured_page_is_laid_out_like_table2(make: Make) -> None:
    measured = make(items=40)
    rows = measured_rows(measured, resamples=500)
    assert [row["row"] for row in rows] == list(measured.rows)
    acc, maj, passed = (measured.mean("Improve", "quiz", m) for m in ("acc", "maj16", "pass16"))
    cell = next(row for row in rows if row["row"] == "Improve")["quiz"]
    assert cell.startswith(f"{acc:.3f} ± ")
    assert cell.endswith(f" [{maj:.3f}, {passed:.3f}]")
    assert "[" not in rows[0]["stories"]


def test_what_the_paper_prints_at_a_row_and_task() -> None:
    table2, table1 = load("table2"), load("table1")
    assert printed_cell(table2, "qwen3", "Improve", "toy-bm4", "acc") == "0.615 [0.612, 0.773]"
    assert printed_cell(table2, "qwen3", "Eta0-Student", "toy-bm4", "acc") == ""
    assert printed_cell(table2, "qwen3", "Improve", "no such task", "acc") == ""
    assert printed_number(table2, "gemma3", "Teacher", "Dolly", "reward") != ""
    assert printed_cell(table1, "qwen3", "Qwen3-8B", "BM4", "token_rkl") == "0.208"
