"""The benchmark of the main job: records to seconds by stage and phase, and a small job from start to end."""

import json
import subprocess
import sys
from pathlib import Path

import main_job
import pytest

SCRIPT = Path(main_job.__file__).resolve()


def record(stage, phases=None, **fields):
    return {"stage": stage, "config": {}, "seconds": 9.0, **fields} | ({"phases": phases} if phases else {})


def seconds(wall, processor):
    return {"wall": wall, "processor": processor}


def test_phases_of_equal_stages_are_summed():
    records = [
        record("evaluate", {"sampling": seconds(4.0, 3.0), "other": seconds(1.0, 0.5)}, process_seconds=0.5),
        record("evaluate", {"sampling": seconds(6.0, 5.0)}, process_seconds=None),
        record("distill", {"training": seconds(8.0, 7.0)}, config={"config": {"method": "sft"}}),
    ]
    summed = {key: (part.wall, part.processor) for key, part in main_job.by_phase(records).items()}
    assert summed == {
        ("distill sft", "training"): (8.0, 7.0),
        ("evaluate", "other"): (1.0, 0.5),
        ("evaluate", "sampling"): (10.0, 8.0),
        ("evaluate", "start"): (0.5, None),
    }


def test_what_no_phase_holds_is_printed():
    commands = {"run": main_job.Seconds(30.0, 20.0), "tests": main_job.Seconds(2.0, 2.0)}
    lines = main_job.table([record("sample", {"sampling": seconds(4.0, 3.0)})], commands)
    assert lines[-1].split() == ["run:", "outside", "of", "phases", "17.0"]
    assert main_job.total(commands) == main_job.Seconds(32.0, 22.0)


def test_a_finished_run_of_older_code_is_read(tmp_path):
    (tmp_path / "table2-toy").mkdir()
    (tmp_path / "table2-toy" / "results.json").write_text(json.dumps({"stages": [{"artifact": "sample-0"}]}))
    (tmp_path / "cache" / "sample-0").mkdir(parents=True)
    (tmp_path / "cache" / "sample-0" / "record.json").write_text(json.dumps(record("sample")))
    printed = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed[-1].split() == ["1", "sample:", "all", "9.0", "-"]


def test_no_finished_run_is_an_error(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Name the --out of a finished `repro run table2" in done.stderr


@pytest.mark.slow
def test_two_trees_are_run_in_turn():
    small = ["train_items=8", "test_items=4", "tasks=toy-bm4", "evaluation.completions_per_prompt=2"]
    small += [f"{name}.steps=1" for name in ("sft", "gkd_fkl", "gkd_rkl", "calibration")]
    settings = [part for text in small for part in ("--set", text)]
    command = [sys.executable, SCRIPT, "--against", SCRIPT.parents[1], "--python", sys.executable, "--", *settings]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "this / against: wall" in printed
    assert printed.count("12 evaluate: sampling") == 2
