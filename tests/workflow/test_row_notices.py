"""Rows of the user's file: both sides are counted, every row can be taken, and fewer items than requested are said."""

import json

import pytest

from repro.tasks import registry
from repro.workflow.own_models import StageOptions, calibrate_stage, evaluate_stage, sample_stage
from repro.workflow.row_notices import row_notices, twin_notices

STUDENT = "toy:qwen3-student"


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"{n} + 1 = ?", "answer": n + 1}) for n in range(50)]
    file.write_text("\n".join([*lines, lines[0]]))  # a repeated row is one row
    return file


def options(rows, **changes):
    return StageOptions(tasks=("file-numeric",), data=rows, **changes)


def test_all_are_the_rows_of_both_splits(rows):
    task = registry.get("file-numeric", data=rows)
    ids = {split: {item.id for item in task.items(split, n=None, seed=0)} for split in ("train", "test", "all")}
    assert ids["train"] | ids["test"] == ids["all"]
    assert len(ids["train"]) + len(ids["test"]) == len(ids["all"]) == 50
    toy = registry.get("toy-bm4")
    assert len(toy.items("all", n=None, seed=0)) == sum(
        len(toy.items(split, n=None, seed=0)) for split in ("train", "test")
    )


def test_the_counts_of_both_sides_are_said(rows):
    task = registry.get("file-numeric", data=rows)
    test = len(task.items("test", n=None, seed=0))
    stage = evaluate_stage(STUDENT, options(rows))
    assert stage.data[0].n == test < 50
    (line,) = row_notices(stage, None)
    assert line == (
        f"rows.jsonl: 50 rows, split by a hash of their content: {50 - test} train, {test} test. All test rows are used;"
        " --split all uses every row"
    )
    (line,) = row_notices(sample_stage(STUDENT, options(rows, items=2)), 2)
    assert "2 of the train rows are used; --items N changes the number" in line


def test_every_row_can_be_taken(rows):
    stage = evaluate_stage(STUDENT, options(rows, split="all"))
    assert stage.data[0].n == 50
    assert row_notices(stage, None) == []
    assert stage.fingerprint != evaluate_stage(STUDENT, options(rows)).fingerprint


def test_fewer_items_than_requested_are_said(rows):
    stage = evaluate_stage(STUDENT, options(rows, items=60, split="all"))
    assert row_notices(stage, 60) == ["rows.jsonl: 60 items requested, but split all has 50: all of them are used"]
    toy = evaluate_stage(STUDENT, StageOptions(tasks=("toy-bm4",), items=600))
    assert row_notices(toy, 600) == ["toy-bm4: 600 items requested, but split test has 517: all of them are used"]


def test_a_task_for_evaluation_only_has_no_sides(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text(
        "\n".join(json.dumps({"question_id": n, "category": "x", "turns": [f"Why {n}?"]}) for n in range(5))
    )
    stage = evaluate_stage(STUDENT, StageOptions(tasks=("vicuna",), data=file))
    assert stage.data[0].n == 5
    assert row_notices(stage, None) == []


def test_a_model_beside_itself_is_named():
    def calibration(target):
        return calibrate_stage("toy:qwen3-teacher", StageOptions(tasks=("toy-bm4",)), target=target, eta="\u22120.5")

    assert calibration(None).config.eta == -0.5  # with a minus sign that is copied from a page
    assert twin_notices(calibration(None)) == []
    assert twin_notices(calibration("toy:qwen3-teacher")) == ["teacher and target are the same model"]
    assert twin_notices(sample_stage(STUDENT, StageOptions(tasks=("toy-bm4",)))) == []
