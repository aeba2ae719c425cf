"""A small study, killed in each kind of stage and started again, ends with the numbers of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SETTINGS = [
    *("calibration.steps=8", "calibration.prompts_per_step=4", "calibration.group_size=4"),
    *(f"{m}.{s}" for m in ("sft", "gkd_fkl", "gkd_rkl") for s in ("steps=8", "sequences_per_step=16")),
    *("train_items=24", "test_items=6", "evaluation.batch_sequences=32", "controls=false", "tasks=toy-bm4"),
]


def command(out):
    sets = [argument for setting in SETTINGS for argument in ("--set", setting)]
    arguments = ["run", "table2", "--scale", "toy", "--out", str(out), "--workers", "1", "--name", "table2-toy", *sets]
    return [sys.executable, "-m", "repro.cli", *arguments]


def finish(out):
    run = subprocess.run(command(out), capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    result = json.loads((out / "table2-toy" / "results.json").read_text())
    return result["measured"], run.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finish(tmp_path_factory.mktemp("undisturbed"))[0]


def kill_tree(pid):
    for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        process.send_signal(signal.SIGKILL)


def test_killed_in_every_kind_of_stage(undisturbed, tmp_path):
    """Kill -9 of everything, once in each kind of stage, in the middle of its work."""
    for kind in ("evaluate", "calibrate", "sample", "distill"):
        driver = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        work = tmp_path / "cache" / ".work"
        while not list(work.glob(f"{kind}-*.progress.json")):
            assert driver.poll() is None, "ended before its stage was seen"
            time.sleep(0.05)
        kill_tree(driver.pid)
        driver.wait()
        for folder in (tmp_path / "cache").glob("*-*"):
            assert (folder / "record.json").is_file() or folder.name.startswith(".")
    measured, _ = finish(tmp_path)
    assert measured == undisturbed


def test_the_second_run_recomputes_nothing(undisturbed, tmp_path):
    finish(tmp_path)
    records = {p: os.stat(p).st_mtime_ns for p in (tmp_path / "cache").glob("*/record.json")}
    measured, out = finish(tmp_path)
    assert measured == undisturbed
    assert "0 to run" in out
    assert {p: os.stat(p).st_mtime_ns for p in (tmp_path / "cache").glob("*/record.json")} == records


def test_a_checkpoint_taken_before_the_kill_is_used_and_changes_nothing(undisturbed, tmp_path):
    """SIGTERM in the second half of a calibration: the same numbers although training resumes from a checkpoint."""
    arguments = [*command(tmp_path), "--checkpoint-every", "3"]
    driver = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "cache" / ".work").glob("calibrate-*/*/complete*")):
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait() == 130
    assert finish(tmp_path)[0] == undisturbed
