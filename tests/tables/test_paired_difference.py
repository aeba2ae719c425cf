"""Differences of two measured tables: on shared items, paired, and with the interval that pairing gives."""

from dataclasses import replace

import numpy as np
import pytest
from measured_world import build

from repro.tables import MeasuredTable
from repro.tables.paired_difference import paired_differences


def find(differences, row, task="chain3", metric="acc"):
    return next(d for d in differences if (d.row, d.task, d.metric) == (row, task, metric))


def keep_items(table, task, ids):
    """Return the table with these items of one task only, in this order."""
    kept = MeasuredTable(table.study, table.scale, table.family, table.seeds, table.samples)
    for (row, t, metric), cell in table.values.items():
        columns = [table.items[t].index(item) for item in (ids if t == task else table.items[t])]
        kept.add(row, t, metric, [table.items[t][n] for n in columns], cell.values_SN[:, columns])
    return kept


def test_a_table_does_not_differ_from_itself():
    table = build(items=30)
    for cell in paired_differences(table, table):
        assert cell.difference == 0
        assert cell.interval[0] < 0 < cell.interval[1]
        assert cell.first == cell.second == pytest.approx(table.mean(cell.row, cell.task, cell.metric))


def test_pairing_sees_a_shift_that_unpaired_items_would_hide():
    """A difference of 0.02 on every item, far below the items' spread: the paired interval excludes 0."""
    first = build(items=60, spread=0.0)
    second = replace(first, values=dict(first.values))
    cell = first.values["Student", "chain3", "acc"]
    second.values["Student", "chain3", "acc"] = replace(cell, values_SN=np.clip(cell.values_SN + 0.02, 0, 1))
    difference = find(paired_differences(first, second), "Student")
    assert difference.difference == pytest.approx(0.02, abs=0.002)
    assert difference.interval[0] > 0
    unpaired = first.only_seed(0).values["Student", "chain3", "acc"].values_SN.std() / np.sqrt(60)
    assert difference.interval[1] - difference.interval[0] < unpaired


def test_only_shared_items_are_compared_in_whatever_order():
    table = build(items=30)
    ids = table.items["chain3"]
    fewer = keep_items(table, "chain3", ids[20:4:-1])
    difference = find(paired_differences(table, fewer), "SFT")
    assert difference.items == 16
    assert difference.difference == 0  # although the means over all items differ
    assert difference.first != difference.second
    alone = find(paired_differences(table, keep_items(table, "chain3", ids[:2][::-1])), "SFT")
    assert alone.items == 2
    lost = find(paired_differences(table, rename(table, "chain3")), "SFT")
    assert (lost.items, lost.difference, lost.interval) == (0, None, None)


def rename(table, task):
    renamed = MeasuredTable(table.study, table.scale, table.family, table.seeds, table.samples)
    for (row, t, metric), cell in table.values.items():
        renamed.add(row, t, metric, [f"new-{i}" if t == task else i for i in table.items[t]], cell.values_SN)
    return renamed


def test_rows_of_only_one_result_have_no_difference():
    first = build(items=20)
    second = build(items=20, effects={"New": 0.0})
    new = find(paired_differences(first, second), "New")
    assert new.first is None
    assert new.second is not None
    assert new.difference is None


def test_other_seeds_are_averaged_first():
    first, second = build(items=40, seeds=(0, 1, 2)), build(items=40, seeds=(5,), rng=1)
    difference = find(paired_differences(first, second), "Teacher")
    a, b = (table.mean("Teacher", "chain3", "acc") for table in (first, second))
    assert (difference.first, difference.second) == (pytest.approx(a), pytest.approx(b))
    assert difference.difference == pytest.approx(b - a)


def test_weighted_cells_keep_their_weights():
    tables = []
    for shift in (0.0, 1.0):
        table = MeasuredTable("table1", "toy", "qwen3", (0, 1))
        values = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 5.0]]) + shift
        table.add("on-policy", "toy-bm4", "token_rkl", ["a", "b", "c"], values, [[1, 0, 3], [2, 1, 1]])
        tables.append(table)
    assert find(paired_differences(*tables), "on-policy", "toy-bm4", "token_rkl").difference == pytest.approx(1)
    other = replace(tables[1], seeds=(7, 8))
    averaged = find(paired_differences(tables[0], other), "on-policy", "toy-bm4", "token_rkl")
    assert averaged.difference == pytest.approx(1)


def test_results_of_other_seeds_keep_the_means_of_weighted_cells():
    """Seeds weigh the same in a cell, whatever their weights sum to: averaging over seeds must not let long ones count more."""
    first = MeasuredTable("table1", "toy", "qwen3", (0, 1))
    first.add("a", "quiz", "token_rkl", ["x", "y"], [[1.0, 3.0], [5.0, 7.0]], [[3.0, 1.0], [10.0, 30.0]])
    second = MeasuredTable("table1", "toy", "qwen3", (2,))
    second.add("a", "quiz", "token_rkl", ["x", "y"], [[0.0, 0.0]])
    (cell,) = paired_differences(first, second)
    assert cell.first == first.mean("a", "quiz", "token_rkl") == 4.0
    assert cell.difference == pytest.approx(-4.0)
