"""Hours corrected by the records of this machine, and where a plan says that they come from."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import permutations
from pathlib import Path

import pytest
from rich.console import Console

from repro.planner import roofline
from repro.planner.cards import CPU_CORE
from repro.planner.corrections import SPREAD, corrections_from, shipped_corrections, shipped_factor
from repro.planner.dry_run import print_plan
from repro.planner.forecast import forecast
from repro.planner.hours import estimate
from repro.planner.resources import Resources
from repro.planner.roofline import stage_seconds
from repro.recipes.catalog import plan
from repro.recipes.study import Study
from repro.stages import Stage
from repro.system.hardware import hardware

SPEEDS = {"calibrate": 3.0, "evaluate": 0.5, "sample": 2.0, "sft": 1.5, "gkd-fkl": 4.0, "gkd-rkl": 0.7}
START = 0.25
RUNS = json.loads((Path(__file__).parents[1] / "pipeline" / "table2_seconds.json").read_text())["runs"]


def table2(first_seed: int = 0, assignments: tuple[str, ...] = ()) -> Study:
    return plan("table2", scale="toy", seeds=1, first_seed=first_seed, assignments=assignments)


def write_records(study: Study, out, speeds=SPEEDS, machine=None, minute=0) -> None:
    """Write records as a machine leaves them that is by kind so many times slower than the model."""
    ended = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    for stage in study.stages():
        if stage.procedure in speeds:
            write_record(stage, out, speeds[stage.procedure] * stage_seconds(stage, CPU_CORE), START, ended, machine)


def write_record(stage: Stage, out, seconds, start, ended, machine=None) -> None:
    record = {
        "config": stage.model_dump(mode="json"),
        "hardware": machine or hardware(),
        "gpus": [],
        "seconds": seconds,
        "process_seconds": start,
        "ended": ended.isoformat(),
    }
    folder = out / "cache" / stage.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(record))


def seconds_by_kind(study: Study, corrections) -> dict[str, float]:
    return {
        stage.procedure: (estimate(stage, "toy", corrections).seconds - corrections.process_seconds)
        / stage_seconds(stage, CPU_CORE)
        for stage in study.stages()
    }


def test_records_of_one_seed_give_the_hours_of_another(tmp_path):
    write_records(table2(), tmp_path)
    corrections = corrections_from(tmp_path)
    assert seconds_by_kind(table2(first_seed=1), corrections) == pytest.approx(SPEEDS)
    assert corrections.process_seconds == START


def test_records_of_other_settings_count_through_the_model(tmp_path):
    write_records(table2(assignments=("gkd_rkl.steps=50", "test_items=40")), tmp_path)
    assert seconds_by_kind(table2(), corrections_from(tmp_path)) == pytest.approx(SPEEDS)


def test_a_kind_without_records_is_as_much_slower_as_the_others(tmp_path):
    slower = {kind: 2 * shipped_factor(False, kind) for kind in SPEEDS if kind != "gkd-rkl"}
    write_records(table2(), tmp_path, speeds=slower)
    by_kind = seconds_by_kind(table2(), corrections_from(tmp_path))
    assert by_kind["gkd-rkl"] == pytest.approx(2 * shipped_factor(False, "gkd-rkl"))
    stages = {stage.procedure: stage for stage in table2().stages()}
    known, guessed = (estimate(stages[kind], "toy", corrections_from(tmp_path)) for kind in ("sft", "gkd-rkl"))
    assert known.low == known.high
    assert guessed.high == pytest.approx(SPREAD[False] * guessed.seconds)


def test_the_newest_records_count(tmp_path):
    for seed in range(12):
        write_records(table2(first_seed=seed), tmp_path, minute=seed)
    for seed in range(12, 24):
        faster = {kind: speed / 2 for kind, speed in SPEEDS.items()}
        write_records(table2(first_seed=seed), tmp_path, speeds=faster, minute=seed)
    assert seconds_by_kind(table2(), corrections_from(tmp_path)) == pytest.approx(faster)


@pytest.mark.parametrize("key", ["cpus", "machine", "processor", "memory_gib"])
def test_records_of_another_machine_do_not_count(tmp_path, key):
    other = hardware() | {key: 1000 if key in ("cpus", "memory_gib") else "other"}
    write_records(table2(), tmp_path, machine=other)
    assert corrections_from(tmp_path) == shipped_corrections()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"hardware": 1}', "null", '{"config": {}, "hardware": {}}'])
def test_damaged_records_are_left_out(tmp_path, content):
    write_records(table2(), tmp_path)
    expected = corrections_from(tmp_path)
    (tmp_path / "cache" / "evaluate-damaged").mkdir()
    (tmp_path / "cache" / "evaluate-damaged" / "record.json").write_text(content)
    assert corrections_from(tmp_path) == expected


def test_records_of_models_that_are_gone_are_left_out(tmp_path, monkeypatch):
    write_records(table2(), tmp_path)
    expected = corrections_from(tmp_path)
    file = next(
        path for path in tmp_path.glob("cache/evaluate-*/record.json") if '"toy:qwen3-student"' in path.read_text()
    )
    gone = file.read_text().replace('"toy:qwen3-student"', '"toy:world999/qwen3-student"')
    (tmp_path / "cache" / "evaluate-gone").mkdir()
    (tmp_path / "cache" / "evaluate-gone" / "record.json").write_text(gone)
    monkeypatch.setattr(roofline, "_known", {})  # by content, which the other model has too
    assert corrections_from(tmp_path) == expected


def test_a_forecast_from_records_is_the_schedule_of_their_seconds(tmp_path):
    write_records(table2(), tmp_path)
    study = table2(first_seed=1)
    stages = study.stages()
    truth = [START + SPEEDS[stage.procedure] * stage_seconds(stage, CPU_CORE) for stage in stages]
    planned = forecast(study, stages, [False] * len(stages), corrections_from(tmp_path), Resources(), 2)
    assert planned.total.seconds == pytest.approx(sum(truth))
    assert sum(truth) / 2 <= planned.wall.seconds < sum(truth)
    assert (planned.wall.low, planned.wall.high) == (planned.wall.seconds, planned.wall.seconds)
    alone = forecast(study, stages, [False] * len(stages), corrections_from(tmp_path), Resources(), 1)
    assert alone.wall.seconds == pytest.approx(sum(truth))


@pytest.mark.parametrize(("earlier", "later"), permutations(range(len(RUNS)), 2))
def test_the_plan_from_an_earlier_run_is_within_a_fifth_of_a_later_one(tmp_path, earlier, later):
    """Runs of table2, one seed, hours apart on one quiet machine of two cores."""
    study, stages = table2(), table2().stages()
    for stage, seconds, start in zip(stages, RUNS[earlier]["seconds"], RUNS[earlier]["process_seconds"]):
        write_record(stage, tmp_path, seconds, start, datetime(2026, 1, 1, tzinfo=UTC))
    corrections = corrections_from(tmp_path)
    planned = forecast(study, stages, [False] * len(stages), corrections, Resources(), 2)
    run, start = RUNS[later], corrections.process_seconds
    took = sum(run["seconds"]) + sum(start if known is None else known for known in run["process_seconds"])
    assert planned.total.seconds == pytest.approx(took, rel=0.2)
    assert planned.wall.seconds == pytest.approx(run["wall_seconds"] + start, rel=0.2)


def text_of_plan(study: Study, out) -> str:
    console = Console(file=StringIO(), width=200)
    print_plan(study, out, console, Resources(), 2)
    return console.file.getvalue()


def test_a_dry_run_says_where_its_hours_come_from(tmp_path):
    text = text_of_plan(table2(), tmp_path)
    assert "hours: DERIVED from runs on another machine; no stage like these has run on this machine yet" in text
    assert " to " in next(line for line in text.splitlines() if line.startswith("to run:"))
    write_records(table2(), tmp_path)
    text = text_of_plan(table2(first_seed=1), tmp_path)
    assert "hours: from 23 records of this machine" in text
    assert " to " not in next(line for line in text.splitlines() if line.startswith("to run:")).removeprefix("to run")


def test_a_dry_run_names_the_kinds_without_records(tmp_path):
    write_records(table2(), tmp_path, speeds={"calibrate": 1.0, "evaluate": 1.0})
    text = text_of_plan(table2(first_seed=1), tmp_path)
    assert "no record yet of sample, sft, gkd-fkl, gkd-rkl" in text
