"""Measured tables refuse values that cannot be paired, and survive JSON."""

import json

import numpy as np
import pytest

from repro.errors import InputError
from repro.tables import MeasuredTable, merge_seeds

from .conftest import Make

IDS = ["a", "b", "c"]


def empty(seeds: tuple[int, ...] = (0, 1)) -> MeasuredTable:
    return MeasuredTable("table2", "toy", "qwen3", seeds)


def test_nan_names_row_task_metric_item_and_seed() -> None:
    with pytest.raises(InputError, match=r"row 'SFT', task 'quiz', metric 'acc': item 'b' of seed 1 is nan"):
        empty().add("SFT", "quiz", "acc", IDS, [[0.1, 0.2, 0.3], [0.1, float("nan"), 0.3]])


@pytest.mark.parametrize(
    ("metric", "values", "message"),
    [
        ("acc", [[0, 1, 1.5], [0, 0, 0]], r"item 'c' of seed 0 is 1.5, expected a number from 0 to 1"),
        ("acc", [[0, 1, -0.1], [0, 0, 0]], r"is -0.1"),
        ("token_rkl", [[0, 1, np.inf], [0, 0, 0]], r"is inf, expected a finite number"),
        ("acc", [[0, 1], [0, 0]], r"shape \(2, 2\), expected \[2 seeds, 3 items\]"),
        ("acc", [[0, 1, 1]] * 3, r"shape \(3, 3\)"),
        ("acc", [["x", "y", "z"]], "not an array of numbers"),
    ],
)
def test_invalid_values_are_refused(metric: str, values: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        empty().add("SFT", "quiz", metric, IDS, values)


def test_rows_need_the_same_items_in_the_same_order() -> None:
    table = empty((0,))
    table.add("Student", "quiz", "acc", IDS, [[0, 0, 1]])
    with pytest.raises(InputError, match=r"row 'SFT'.*item 1 is 'c', other rows have 'b'"):
        table.add("SFT", "quiz", "acc", ["a", "c", "b"], [[0, 0, 1]])
    with pytest.raises(InputError, match="2 items, other rows have 3"):
        table.add("SFT", "quiz", "acc", ["a", "b"], [[0, 0]])
    with pytest.raises(InputError, match="added twice"):
        table.add("Student", "quiz", "acc", IDS, [[0, 0, 1]])
    with pytest.raises(InputError, match="distinct"):
        table.add("SFT", "other", "acc", ["a", "a"], [[0, 0]])
    assert table.tasks == ("quiz",)


def test_one_evaluation_stands_for_all_seeds() -> None:
    table = empty((0, 1, 2))
    table.add("Teacher", "quiz", "acc", IDS, [[0.5, 1, 0]])
    assert table.values["Teacher", "quiz", "acc"].values_SN.shape == (3, 3)
    assert table.mean("Teacher", "quiz", "acc") == 0.5


def test_weights_make_a_mean_over_tokens_not_a_mean_of_means() -> None:
    table = empty((0,))
    # Per-token KL of three completions of 1, 1 and 8 tokens: (1 + 2 + 8 * 0.5) / 10.
    table.add("Teacher", "quiz", "token_rkl", IDS, [[1.0, 2.0, 0.5]], [[1, 1, 8]])
    assert table.mean("Teacher", "quiz", "token_rkl") == pytest.approx(0.7)
    with pytest.raises(InputError, match="sum to 0"):
        table.add("Teacher", "quiz", "sequence_rkl", IDS, [[1.0, 2.0, 0.5]], [[0, 0, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "huge"}, "scale 'huge' is none of toy, small, paper"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "distinct"),
        ({"samples": 0}, "samples per item is 0"),
    ],
)
def test_invalid_headers_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MeasuredTable(**{"study": "table2", "scale": "toy", "family": "qwen3", "seeds": (0,), **change})


def test_json_round_trip_keeps_every_number(make: Make) -> None:
    table = make(items=10)
    table.add("Teacher", "quiz", "token_rkl", table.items["quiz"], np.ones((3, 10)), np.arange(30.0).reshape(3, 10))
    again = MeasuredTable.from_dict(json.loads(json.dumps(table.to_dict())))
    assert again.to_dict() == table.to_dict()
    for key, values in table.values.items():
        assert np.array_equal(values.values_SN, again.values[key].values_SN)


def test_from_dict_refuses_other_content() -> None:
    with pytest.raises(InputError, match="not a measured table, KeyError at 'study'"):
        MeasuredTable.from_dict({})
    broken = {
        "study": "table2",
        "scale": "toy",
        "family": "q",
        "seeds": [0],
        "samples": 16,
        "items": {},
        "cells": [{"task": "t"}],
    }
    with pytest.raises(InputError, match="'t'"):
        MeasuredTable.from_dict(broken)


def test_only_seed_and_merge_are_inverse(make: Make) -> None:
    table = make(items=8, seeds=(3, 5, 9))
    parts = [table.only_seed(n) for n in range(3)]
    assert [part.seeds for part in parts] == [(3,), (5,), (9,)]
    assert merge_seeds(parts).to_dict() == table.to_dict()


def test_merge_refuses_what_differs(make: Make) -> None:
    a, b = make(items=8, seeds=(0,)), make(items=9, seeds=(1,))
    with pytest.raises(InputError, match="items differs"):
        merge_seeds([a, b])
    with pytest.raises(InputError, match="distinct"):
        merge_seeds([a, a])
    c = make(items=8, seeds=(1,))
    del c.values["SFT", "quiz", "acc"]
    with pytest.raises(InputError, match="row 'SFT', task 'quiz', metric 'acc' is in one"):
        merge_seeds([a, c])
    with pytest.raises(InputError, match="no results"):
        merge_seeds([])


def test_a_run_without_weights_merges_with_one_that_has_them() -> None:
    """A run whose items all weigh the same stores no weights: its items weigh the same in the merged table, too."""
    plain, weighted = (MeasuredTable("table1", "toy", "qwen3", (seed,)) for seed in (0, 1))
    plain.add("a", "quiz", "token_rkl", ["x", "y"], [[1.0, 3.0]])
    weighted.add("a", "quiz", "token_rkl", ["x", "y"], [[1.0, 3.0]], [[3.0, 1.0]])
    for parts, means in (((plain, weighted), [2.0, 1.5]), ((weighted, plain), [1.5, 2.0])):
        assert merge_seeds(parts).values["a", "quiz", "token_rkl"].means_S().tolist() == means
