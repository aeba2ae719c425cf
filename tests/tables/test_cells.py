"""Cells at paper scale: planted wrong numbers and degraded results are contradicted, traps never matched."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from repro.errors import InputError
from repro.printed.files import paper_tables_folder
from repro.printed.load import PaperTable, load
from repro.tables import MeasuredTable
from repro.tables.verdicts.cells import judge_cells
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import CellVerdict

PLACE = ("Teacher", "BM4", "acc")  # printed 0.625 for qwen3


def measured(
    rate: float = 0.625,
    items: int = 1_500,
    seeds: int = 1,
    row: str = "Teacher",
    metric: str = "acc",
    column: str = "BM4",
) -> MeasuredTable:
    """Return items of varying difficulty whose mean is exactly `rate`."""
    g = np.random.default_rng(0)
    raw = np.clip(g.normal(rate, 0.2, (seeds, items)), 0, 1)
    values = np.clip(raw + (rate - raw.mean(axis=1, keepdims=True)), 0, 1)
    table = MeasuredTable("table2", "paper", "qwen3", tuple(range(seeds)))
    table.add(row, column, metric, [str(n) for n in range(items)], values)
    return table


def judge(table: MeasuredTable, stored: PaperTable | None = None) -> CellVerdict:
    (cell,) = judge_cells(table, stored or load("table2"), resamples=1_000)
    return cell


def test_the_printed_number_is_reproduced() -> None:
    cell = judge(measured())
    assert (cell.value, cell.printed, cell.margin) == ("reproduced", "0.625", 0.03)
    assert cell.difference == pytest.approx(0, abs=0.002)
    assert -0.03 < cell.interval[0] < cell.interval[1] < 0.03


def test_a_planted_wrong_number_is_contradicted(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(paper_tables_folder(), tmp_path / "paper_tables"))
    path = folder / "table2.toml"
    text = path.read_text(encoding="utf-8")
    assert text.count('"0.625 [0.626, 0.725]"') == 1
    path.write_text(text.replace('"0.625 [0.626, 0.725]"', '"0.725 [0.626, 0.725]"'), encoding="utf-8")
    cell = judge(measured(), load("table2", folder))
    assert (cell.value, cell.printed) == ("contradicted", "0.725")
    assert "difference -0.1" in cell.text
    assert "margin 0.03" in cell.text


def test_a_degraded_result_is_contradicted_and_a_close_one_left_open() -> None:
    assert judge(measured(rate=0.55)).value == "contradicted"
    close = judge(measured(rate=0.60))
    assert close.value == "inconclusive"
    assert "the paper's own uncertainty alone is ±0.0168" in close.text


def test_a_run_may_call_the_column_by_its_task() -> None:
    by_task, by_column = judge(measured(column="bigmath-4")), judge(measured())
    assert (by_task.column, by_task.row, by_task.value) == ("BM4", "Teacher", "reproduced")
    assert by_task.difference == by_column.difference
    report = verdict(measured(column="my-own-task"), load("table2"), resamples=200, missing="inconclusive")
    assert report.cells == ()
    assert report.skipped[-1] == "cells of qwen3: table2.toml has none on my-own-task"


def test_the_papers_own_items_widen_the_interval() -> None:
    """The paper has 500 items, regardless of how many we run."""
    many = judge(measured(items=20_000))
    half = (many.interval[1] - many.interval[0]) / 2
    assert half == pytest.approx(1.96 * 0.2 / np.sqrt(500), rel=0.1)


def test_one_training_seed_cannot_match_a_trained_cell() -> None:
    close = judge(measured(0.615, row="Improve"))
    assert close.value == "inconclusive"
    assert "one training seed" in close.text
    assert judge(measured(0.4, row="Improve")).value == "contradicted"
    assert judge(measured(0.615, items=4_000, seeds=3, row="Improve")).value == "reproduced"


def test_small_single_draw_rates_take_wilsons_interval() -> None:
    table = MeasuredTable("table2", "paper", "qwen3", (0,))
    values = np.zeros((1, 40))
    values[0, :29] = 1  # 0.725, the printed pass@16
    table.add("Teacher", "BM4", "pass16", [str(n) for n in range(40)], values)
    cell = judge(table)
    # Wilson for 29 of 40 is 0.572 to 0.839, for 0.725 of 500 0.684 to 0.762: Newcombe -0.158 to 0.121.
    assert cell.interval[0] == pytest.approx(-0.158, abs=0.002)
    assert cell.interval[1] > 0.12


def test_relative_margin_of_a_kl_cell() -> None:
    table = MeasuredTable("table1", "paper", "qwen3", (0,))
    g = np.random.default_rng(0)
    values = 0.208 + g.normal(0, 0.02, (1, 800))
    table.add("Qwen3-8B", "BM4", "token_rkl", [str(n) for n in range(800)], values, np.full((1, 800), 3914))
    cell = judge(table, load("table1"))
    assert (cell.value, cell.margin) == ("reproduced", pytest.approx(0.15 * 0.208))


def test_costs_are_compared_for_the_printed_family_only() -> None:
    etas = ["eta -0.5", "eta +0.5"]
    for family, rows in (("qwen3", ["Student GKD w/ on-policy RKL"]), ("gemma3", [])):
        table = MeasuredTable("table5", "paper", family, (0,))
        table.add("Student GKD w/ on-policy RKL", "pipeline", "gpu_hours", etas, [[100.0, 110.0]])
        assert [cell.row for cell in judge_cells(table, load("table5"), resamples=200)] == rows


def test_importance_weighted_cells_and_errata_are_never_matched() -> None:
    ids = [str(n) for n in range(50)]
    table = MeasuredTable("table1", "paper", "qwen3", (0,))
    table.add("Qwen3-8B", "BM5", "is_rkl", ids, np.full((1, 50), 1850.0))
    table.add("Qwen3-32B", "Dolly", "sequence_rkl", ids, np.full((1, 50), 431.1))
    cells = {c.metric: c for c in judge_cells(table, load("table1"), resamples=200)}
    assert cells["is_rkl"].value == "diagnosed"
    assert cells["is_rkl"].margin is None
    assert cells["sequence_rkl"].value == "erratum"
    assert "qwen3-32b-open-sequence-rkl" in cells["sequence_rkl"].text


def test_below_paper_scale_there_are_no_cell_verdicts() -> None:
    table = measured()
    table.scale = "toy"
    with pytest.raises(InputError, match="paper scale only, this one is toy"):
        judge(table)
