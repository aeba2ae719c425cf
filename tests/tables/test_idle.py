"""Idle rows: found in the histories of the calibrations behind them, and no conclusive claim or cell rests on one."""

import json

import numpy as np
import pytest

from repro.errors import InputError
from repro.printed.load import load, load_claims
from repro.recipes.catalog import plan
from repro.recipes.labels import moved, read_by_target
from repro.stages import Calibrate
from repro.tables import MeasuredTable, merge_seeds
from repro.tables.formatting import describe_idle
from repro.tables.measurements.idle import idle_rows
from repro.tables.verdicts.cells import judge_cells
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import why_untested

from .conftest import Make

REASON = "the teacher did not move: its KL to its start is 3.0e-05 nats per token, below 0.001"


def judge(table, *claims):
    chosen = [c for c in load_claims(table.study) if not claims or c.id in claims]
    return {v.claim: v for v in verdict(table, load(table.study), chosen, resamples=500, missing="inconclusive").claims}


def test_no_claim_that_rests_on_an_idle_row_is_decided(make: Make) -> None:
    table = make(items=200, spread=0.03)
    moved = judge(table)
    table.idle = {"Misled": dict.fromkeys(table.tasks, (REASON, None, REASON))}
    still = judge(table)
    resting = {claim for claim, v in moved.items() if "Misled" in v.statement}
    assert len(resting) >= 2
    for claim, v in still.items():
        if claim in resting:
            assert moved[claim].value in ("reproduced", "inconclusive")
            assert (v.value, v.estimate, why_untested(v)) == ("not testable", None, "idle")
            on = "Misled on chain3, quiz, stories"
            assert v.text == f"not testable: idle, {on}: {REASON} at seed 0 (also idle at 2)"
        else:
            assert v.estimate == moved[claim].estimate
    assert "reproduced" in {moved[claim].value for claim in resting}


def test_a_claim_about_some_cell_looks_at_the_others():
    def table(**idle):
        made = MeasuredTable("table1", "toy", "qwen3", (0, 1, 2), idle={row: {"a": x} for row, x in idle.items()})
        for row, rate in (("near", 0.1), ("far", 0.9)):
            values = np.random.default_rng(0).binomial(16, rate, (3, 200)) / 16
            made.add(row, "a", "wrong_trace", [str(n) for n in range(200)], values, np.full((3, 200), 16.0))
        return judge(made, "wrong-trace-over-half")["wrong-trace-over-half"]

    assert table().value == table(near=(REASON,) * 3).value == "reproduced"
    assert table(far=(REASON,) * 3).value == "contradicted"
    assert table(near=(REASON,) * 3, far=(REASON,) * 3).value == "not testable"


def test_a_curve_keeps_the_eta_that_moves_nothing():
    etas = (-1.0, 0.0, 1.0)
    made = MeasuredTable("eta-sweep", "toy", "qwen3", (0, 1, 2), etas=etas)
    rng = np.random.default_rng(0)
    for eta in etas:
        values = rng.binomial(16, 0.5 + 0.3 * eta, (3, 200)) / 16
        made.add(f"GKD-RKL, eta {eta:+g}", "a", "acc", [str(n) for n in range(200)], values)
    before = judge(made, "sweep-student-rises")["sweep-student-rises"]
    made.idle = {"GKD-RKL, eta +0": {"a": (REASON,) * 3}}
    assert judge(made, "sweep-student-rises")["sweep-student-rises"] == before
    assert before.value == "reproduced"
    (line,) = describe_idle(made)
    assert line.startswith("Idle on a, so not used in claims there, except in curves over eta: GKD-RKL, eta +0 (")


def test_a_printed_cell_beside_an_idle_row_is_not_judged():
    made = MeasuredTable("table2", "paper", "qwen3", (0, 1, 2))
    values = np.random.default_rng(0).binomial(16, 0.5, (3, 1500)) / 16
    made.add("Distillable", "BM4", "acc", [str(n) for n in range(1500)], values)
    (cell,) = judge_cells(made, load("table2"), resamples=200)
    assert cell.value == "contradicted"
    made.idle = {"Distillable": {"BM4": (REASON, None, None)}}
    (cell,) = judge_cells(made, load("table2"), resamples=200)
    assert cell.value == "not testable"
    assert REASON in cell.text


def test_idleness_goes_with_its_seed_and_through_json():
    made = MeasuredTable("table2", "toy", "qwen3", (0, 1, 2), idle={"Misled": {"a": (None, REASON, None)}})
    for row in ("Misled", "Student"):
        made.add(row, "a", "acc", ["x", "y"], [[0.1, 0.2]] * 3)
    assert made.idleness("Misled", "a") == f"{REASON} at seed 1"
    assert made.idleness("Student", "a") is None
    assert describe_idle(made) == [f"Idle on a, so not used in claims there: Misled ({REASON} at seed 1)."]
    parts = [made.only_seed(n) for n in range(3)]
    assert [part.idleness("Misled", "a") for part in parts] == [None, f"{REASON}", None]
    assert merge_seeds(parts).idle == made.idle
    content = json.loads(json.dumps(made.to_dict()))
    assert MeasuredTable.from_dict(content).idle == made.idle
    assert "idle" not in parts[0].to_dict()
    for wrong in (["Misled"], {"Misled": [REASON] * 3}, {"Misled": {"a": [REASON]}}, {"Misled": {"a": [1, 2, 3]}}):
        with pytest.raises(InputError, match="not a reason or null for each of 3 seeds"):
            MeasuredTable.from_dict({**content, "idle": wrong})


def test_rows_about_an_idle_row_are_not_named_beside_it():
    reasons = {"a": (REASON,)}
    labels = ("sft under knob", moved("sft under knob"), read_by_target("sft under knob"), moved("gkd-rkl under knob"))
    made = MeasuredTable("guards", "toy", "qwen3", (0,), idle=dict.fromkeys(labels, reasons))
    (line,) = describe_idle(made)
    assert "not used in claims there: sft under knob, gkd-rkl under knob: moved (" in line


def test_rows_that_rest_on_a_calibration_that_moved_nothing_are_idle(tmp_path):
    study = plan("table2", scale="toy", seeds=2)
    for stage in study.stages():
        if isinstance(stage, Calibrate):
            stands_still = stage.config.eta == 0 or (stage.config.eta < 0 and stage.seed == 1)
            folder = tmp_path / stage.folder_name
            folder.mkdir()
            row = {"kl": 3e-5 if stands_still else 0.3, "task_reward_flat_groups": 0.5, "r_cal_flat_groups": 0.0}
            (folder / "history.jsonl").write_text(json.dumps(row) + "\n")
            (folder / "summary.json").write_text("{}")
    rows_of = {row.method: [r for r in study.rows if r.method == row.method] for row in study.rows}
    found = idle_rows(rows_of, study.seeds, tmp_path)
    assert found == {
        row: dict.fromkeys(study.tasks, reasons)
        for row, reasons in {
            "Undistillable": (None, REASON),
            "Misled": (None, REASON),
            "Eta0-Teacher": (REASON, REASON),
            "Eta0-Student": (REASON, REASON),
        }.items()
    }


def test_a_model_per_task_is_idle_on_its_task_and_the_others_are_judged(tmp_path):
    study = plan("table6", scale="toy", seeds=1, families=("qwen3",))
    for stage in study.stages():
        if isinstance(stage, Calibrate):
            folder = tmp_path / stage.folder_name
            folder.mkdir()
            kl = 3e-5 if stage.config.eta == 0 and stage.data[0].task == "toy-bm4" else 0.3
            row = {"kl": kl, "task_reward_flat_groups": 0.5, "r_cal_flat_groups": 0.0}
            (folder / "history.jsonl").write_text(json.dumps(row) + "\n")
            (folder / "summary.json").write_text("{}")
    rows_of = {row.method: [r for r in study.rows if r.method == row.method] for row in study.rows}
    found = idle_rows(rows_of, study.seeds, tmp_path)
    assert found["Eta0-Student"] == {"toy-bm4": (REASON,)}
    made = MeasuredTable("table6", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    for row, rates in {"Eta0-Student": (0.2, 0.8), "Misled": (0.5, 0.3)}.items():
        for task, rate in zip(("toy-bm4", "toy-csqa"), rates):
            values = rng.binomial(16, rate, (3, 200)) / 16
            made.add(row, task, "acc", [f"{task}-{n}" for n in range(200)], values)
    name = "table6-misled-under-rft"
    both = judge(made, name)[name]
    made.idle = {"Eta0-Student": {"toy-bm4": (REASON,) * 3}}
    report = verdict(made, load("table6"), [c for c in load_claims("table6") if c.id == name], resamples=500)
    (moved,) = report.claims
    assert both.estimate == pytest.approx(0.1, abs=0.02)
    assert (moved.value, moved.estimate) == ("reproduced", pytest.approx(0.5, abs=0.02))
    assert [evidence.task for evidence in moved.tasks] == ["toy-csqa"]
    assert report.skipped == (
        f"{name} (qwen3): tasks left out because idle: Eta0-Student on toy-bm4: {REASON} at seed 0 (also idle at 1, 2)",
    )
